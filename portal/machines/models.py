"""Machines: the rows that say what is wanted, and beside it what was last observed."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from workers.contract.messages import EndReason, Observed
from workers.contract.spec import BootFrom, DiskBus, DiskKind, NicModel, Power, StopMode


class Machine(models.Model):
    """One machine. Each change of what is wanted raises `generation`; each wanted start raises `run`."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="machines")
    host = models.ForeignKey("fleet.Host", on_delete=models.PROTECT, related_name="machines")
    name = models.CharField(max_length=63)
    cpus = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(256)])
    memory_mib = models.PositiveIntegerField(validators=[MinValueValidator(64)])
    disc = models.ForeignKey(
        "images.Image", null=True, blank=True, on_delete=models.PROTECT, related_name="machines"
    )
    boot_from = models.CharField(max_length=8, choices=[(x.value, x.value) for x in BootFrom])
    created_at = models.DateTimeField(auto_now_add=True)

    generation = models.PositiveIntegerField(default=1)
    run = models.PositiveIntegerField(default=0)
    power = models.CharField(max_length=8, choices=[(x.value, x.value) for x in Power])
    stop_mode = models.CharField(
        max_length=8, default=StopMode.ASK, choices=[(x.value, x.value) for x in StopMode]
    )

    observed = models.CharField(max_length=8, blank=True, choices=[(x.value, x.value) for x in Observed])
    observed_generation = models.PositiveIntegerField(default=0)
    observed_sequence = models.BigIntegerField(default=0)
    end_reason = models.CharField(max_length=16, blank=True, choices=[(x.value, x.value) for x in EndReason])
    exit_detail = models.TextField(blank=True)
    accelerator = models.CharField(max_length=8, blank=True)
    under_the_hood = models.JSONField(default=dict)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "name"],
                name="one_machine_a_name_and_owner",
                violation_error_message=_("You have a machine of this name already."),
            ),
        ]
        indexes = [models.Index(fields=["owner", "name"]), models.Index(fields=["name", "id"])]

    def __str__(self) -> str:
        return self.name


class Disk(models.Model):
    """A disk of a machine; `position` 0 is the one that the firmware boots."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    machine = models.ForeignKey(Machine, on_delete=models.CASCADE, related_name="disks")
    position = models.PositiveSmallIntegerField()
    size_bytes = models.BigIntegerField()
    kind = models.CharField(max_length=8, choices=[(x.value, x.value) for x in DiskKind])
    bus = models.CharField(max_length=8, choices=[(x.value, x.value) for x in DiskBus])

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["machine", "position"], name="one_disk_a_position")]

    def __str__(self) -> str:
        return f"{self.machine} disk {self.position}"


class Nic(models.Model):
    """A network card with its fixed MAC and its fixed address; two of one host never share either."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    machine = models.ForeignKey(Machine, on_delete=models.CASCADE, related_name="nics")
    host = models.ForeignKey("fleet.Host", on_delete=models.PROTECT, related_name="nics")
    network = models.ForeignKey("networks.Network", on_delete=models.PROTECT, related_name="nics")
    position = models.PositiveSmallIntegerField()
    mac = models.CharField(max_length=17, unique=True)
    address = models.GenericIPAddressField(protocol="IPv4")
    model = models.CharField(max_length=8, choices=[(x.value, x.value) for x in NicModel])
    bridge = models.CharField(max_length=15, blank=True)
    tap = models.CharField(max_length=15, blank=True)
    leased_address = models.CharField(max_length=45, blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["machine", "position"], name="one_nic_a_position"),
            models.UniqueConstraint(fields=["host", "network", "address"], name="one_nic_an_address"),
            models.CheckConstraint(condition=~Q(mac=""), name="a_nic_has_a_mac"),
        ]

    def __str__(self) -> str:
        return self.mac
