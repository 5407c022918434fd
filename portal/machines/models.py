"""Machines: the rows that say what is wanted, and beside it what was last observed."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from workers.contract.messages import EndReason, Observed, PauseReason
from workers.contract.spec import (
    Autostart,
    BootFrom,
    DiskBus,
    DiskKind,
    Firmware,
    GuestKind,
    NicModel,
    Power,
    StopMode,
)

if TYPE_CHECKING:
    from portal.quotas.usage import Share


class Machine(models.Model):
    """One machine. Each change of what is wanted raises `generation`; each wanted start raises `run`."""

    share_before: Share | None = None
    """What it took of its quota when its row was locked for a change (machines/asking.py); no column."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="machines")
    team = models.ForeignKey(
        "teams.Team", null=True, blank=True, on_delete=models.PROTECT, related_name="machines",
        help_text="empty: it belongs to its owner alone",
    )  # fmt: skip
    host = models.ForeignKey("fleet.Host", on_delete=models.PROTECT, related_name="machines")
    name = models.CharField(max_length=63)
    cpus = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(256)])
    memory_mib = models.PositiveIntegerField(validators=[MinValueValidator(64)])
    disc = models.ForeignKey(
        "images.Image", null=True, blank=True, on_delete=models.PROTECT, related_name="machines"
    )
    memory_most_mib = models.PositiveIntegerField(
        null=True, help_text="what it can be given while it runs; empty: no more than it has"
    )
    guest = models.CharField(
        max_length=8, default=GuestKind.LINUX, choices=[(x.value, x.value) for x in GuestKind]
    )
    firmware = models.CharField(
        max_length=12, default=Firmware.BIOS, choices=[(x.value, x.value) for x in Firmware]
    )
    tpm = models.BooleanField(default=False)
    autostart = models.CharField(
        max_length=12, default=Autostart.AS_BEFORE, choices=[(x.value, x.value) for x in Autostart]
    )
    second_disc = models.ForeignKey(
        "images.Image", null=True, blank=True, on_delete=models.PROTECT, related_name="second_in"
    )
    seed: models.JSONField[Any, Any] = models.JSONField(
        null=True, help_text="what a cloud image reads at its first start"
    )
    current_snapshot = models.ForeignKey(
        "Snapshot", null=True, blank=True, on_delete=models.SET_NULL, related_name="+",
        help_text="what the machine has gone on from",
    )  # fmt: skip
    boot_from = models.CharField(max_length=8, choices=[(x.value, x.value) for x in BootFrom])
    boot_slot = models.PositiveSmallIntegerField(default=0, help_text="the disk that is tried first")
    cpu_weight = models.PositiveSmallIntegerField(
        default=100, validators=[MinValueValidator(1), MaxValueValidator(10_000)]
    )
    firewall: models.JSONField[Any, Any] = models.JSONField(
        null=True, help_text="what may pass, as the contract says it; empty: everything"
    )
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
    paused_for = models.CharField(
        max_length=10, blank=True, choices=[(x.value, x.value) for x in PauseReason]
    )
    guest_resets = models.PositiveIntegerField(default=0, help_text="in this run, by the guest itself")
    pending: models.JSONField[Any, Any] = models.JSONField(
        default=list, help_text="what counts from the next start on"
    )
    memory_now_mib = models.PositiveIntegerField(null=True)
    agent: models.JSONField[Any, Any] = models.JSONField(null=True)
    accelerator = models.CharField(max_length=8, blank=True)
    under_the_hood = models.JSONField(default=dict)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "name"],
                condition=Q(team=None),
                name="one_machine_a_name_and_owner",
                violation_error_message=_("You have a machine of this name already."),
            ),
            models.UniqueConstraint(
                fields=["team", "name"],
                condition=~Q(team=None),
                name="one_machine_a_name_and_team",
                violation_error_message=_("The team has a machine of this name already."),
            ),
        ]
        indexes = [models.Index(fields=["owner", "name"]), models.Index(fields=["name", "id"])]

    def __str__(self) -> str:
        return self.name


class Disk(models.Model):
    """A disk of a machine; `position` is the slot that it is plugged into for as long as it is there.

    What it began as: a base (`base`), an image of the library (`image`), or what `origin` says; empty without any.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    machine = models.ForeignKey(Machine, on_delete=models.CASCADE, related_name="disks")
    position = models.PositiveSmallIntegerField()
    size_bytes = models.BigIntegerField()
    kind = models.CharField(max_length=8, choices=[(x.value, x.value) for x in DiskKind])
    bus = models.CharField(max_length=8, choices=[(x.value, x.value) for x in DiskBus])
    pool = models.CharField(
        max_length=32, blank=True, help_text="the host's folder; empty: beside the machine"
    )
    base = models.ForeignKey("Base", null=True, blank=True, on_delete=models.PROTECT, related_name="disks")
    image = models.ForeignKey(
        "images.Image", null=True, blank=True, on_delete=models.PROTECT, related_name="disks"
    )
    origin: models.JSONField[Any, Any] = models.JSONField(
        null=True, help_text="a copied disk or a backup, as the contract says it"
    )
    iops = models.PositiveIntegerField(null=True, help_text="reads and writes a second; empty: no limit")
    mib_per_second = models.PositiveIntegerField(null=True, help_text="empty: no limit")
    is_leaving = models.BooleanField(
        default=False, help_text="wanted no more; the row goes when its host has done it"
    )

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["machine", "position"], name="one_disk_a_position")]

    def __str__(self) -> str:
        return f"{self.machine} disk {self.position}"

    @property
    def began_as(self) -> str:
        """The name of the template or image that it began as; empty where it began as neither."""
        if self.base is not None:
            return self.base.template.name
        return self.image.name if self.image is not None else ""


class Nic(models.Model):
    """A network card with its fixed MAC and its fixed address; two of one host never share either.

    In a bridged network, whose own DHCP gives addresses, those of the row are what the card is locked to (address_locks.py).
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    machine = models.ForeignKey(Machine, on_delete=models.CASCADE, related_name="nics")
    host = models.ForeignKey("fleet.Host", on_delete=models.PROTECT, related_name="nics")
    network = models.ForeignKey("networks.Network", on_delete=models.PROTECT, related_name="nics")
    position = models.PositiveSmallIntegerField()
    mac = models.CharField(max_length=17, unique=True)
    address = models.GenericIPAddressField(
        protocol="IPv4",
        null=True,
        blank=True,
        help_text="empty in a bridged network: its neighbours give one",
    )
    address6 = models.GenericIPAddressField(protocol="IPv6", null=True, blank=True)
    host_name = models.CharField(max_length=63, blank=True, help_text="its name in the network's DNS")
    mbit_in = models.PositiveIntegerField(null=True, help_text="empty: no limit")
    mbit_out = models.PositiveIntegerField(null=True, help_text="empty: no limit")
    model = models.CharField(max_length=8, choices=[(x.value, x.value) for x in NicModel])
    bridge = models.CharField(max_length=15, blank=True)
    tap = models.CharField(max_length=15, blank=True)
    leased_address = models.CharField(max_length=45, blank=True)
    is_leaving = models.BooleanField(
        default=False, help_text="wanted no more; its address stays its own until its host has done it"
    )

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["machine", "position"], name="one_nic_a_position"),
            models.UniqueConstraint(fields=["host", "network", "address"], name="one_nic_an_address"),
            models.UniqueConstraint(
                fields=["host", "network", "host_name"],
                condition=~Q(host_name=""),
                name="one_nic_a_host_name",
            ),
            models.CheckConstraint(condition=~Q(mac=""), name="a_nic_has_a_mac"),
        ]

    def __str__(self) -> str:
        return self.mac


class Snapshot(models.Model):
    """A state of a machine that it can go back to; `spec` is the machine as it was wanted then."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    machine = models.ForeignKey(Machine, on_delete=models.CASCADE, related_name="snapshots")
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="children"
    )
    name = models.CharField(max_length=63)
    description = models.TextField(blank=True, max_length=2000)
    taken_at = models.DateTimeField(auto_now_add=True)
    has_memory = models.BooleanField(default=False)
    memory_bytes = models.BigIntegerField(default=0)
    is_ready = models.BooleanField(default=False)
    spec: models.JSONField[Any, Any] = models.JSONField()

    class Meta:
        ordering = ["taken_at"]
        constraints = [
            models.UniqueConstraint(fields=["machine", "name"], name="one_snapshot_a_name_and_machine")
        ]

    def __str__(self) -> str:
        return self.name


class Template(models.Model):
    """Frozen disks of a host with the hardware around them.

    A published one is everybody's to use, another one its owner's or team's. `holds_clones`: it is on no list and there only
    because linked clones stand on it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="templates")
    team = models.ForeignKey(
        "teams.Team", null=True, blank=True, on_delete=models.PROTECT, related_name="templates"
    )
    host = models.ForeignKey("fleet.Host", on_delete=models.PROTECT, related_name="templates")
    name = models.CharField(max_length=63)
    description = models.TextField(blank=True, max_length=2000)
    is_published = models.BooleanField(default=False)
    is_ready = models.BooleanField(default=False)
    holds_clones = models.BooleanField(default=False)
    hardware: models.JSONField[Any, Any] = models.JSONField(help_text="the spec of the machine that it was")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Base(models.Model):
    """One frozen disk of a template."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    template = models.ForeignKey(Template, on_delete=models.CASCADE, related_name="bases")
    position = models.PositiveSmallIntegerField()
    size_bytes = models.BigIntegerField()
    kind = models.CharField(max_length=8, choices=[(x.value, x.value) for x in DiskKind])
    bus = models.CharField(max_length=8, choices=[(x.value, x.value) for x in DiskBus])
    stands_on = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="carries"
    )
    image = models.ForeignKey(
        "images.Image", null=True, blank=True, on_delete=models.PROTECT, related_name="bases"
    )

    class Meta:
        ordering = ["position"]

    def __str__(self) -> str:
        return f"{self.template} disk {self.position}"
