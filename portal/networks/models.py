"""Networks that machines are plugged into."""

from __future__ import annotations

import uuid
from ipaddress import IPv4Network, IPv6Network

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from workers.contract.networks import NetworkKind, Protocol


class Network(models.Model):
    """A NAT or isolated network is the same subnet on every host, behind each; a bridged one is there where it has an uplink."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=63, unique=True)
    kind = models.CharField(
        max_length=8, default=NetworkKind.NAT, choices=[(x.value, x.value) for x in NetworkKind]
    )
    subnet = models.CharField(max_length=18, blank=True, help_text="empty: bridged")
    subnet6 = models.CharField(max_length=43, blank=True, help_text="a /64; empty: no IPv6 of ours")
    routed6 = models.BooleanField(
        default=False, help_text="IPv6 leaves with the machines' own addresses, not behind the host's"
    )
    is_default = models.BooleanField(default=False, help_text="what a machine gets where nobody chooses")

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind=NetworkKind.BRIDGED, subnet="", subnet6="")
                | (~Q(kind=NetworkKind.BRIDGED) & ~Q(subnet="")),
                name="a_network_has_a_subnet_unless_bridged",
                violation_error_message=_("A network has a subnet, unless it is bridged."),
            ),
            models.UniqueConstraint(
                fields=["is_default"], condition=Q(is_default=True), name="one_default_network"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def range(self) -> IPv4Network | None:
        """The subnet as an address range; None for a bridged network."""
        return IPv4Network(self.subnet) if self.subnet else None

    @property
    def range6(self) -> IPv6Network | None:
        """The IPv6 subnet; None without one."""
        return IPv6Network(self.subnet6) if self.subnet6 else None


class Uplink(models.Model):
    """Where a bridged network meets a host: the host's bridge of this name."""

    network = models.ForeignKey(Network, on_delete=models.CASCADE, related_name="uplinks")
    host = models.ForeignKey("fleet.Host", on_delete=models.CASCADE, related_name="uplinks")
    bridge = models.CharField(max_length=15)

    class Meta:
        ordering = ["host__name"]
        constraints = [
            models.UniqueConstraint(fields=["network", "host"], name="one_uplink_a_network_and_host")
        ]

    def __str__(self) -> str:
        return f"{self.network} on {self.host}"


class PublishedPort(models.Model):
    """A port of a host at which a port of one of its machines is reached."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    nic = models.ForeignKey("machines.Nic", on_delete=models.CASCADE, related_name="published_ports")
    host = models.ForeignKey("fleet.Host", on_delete=models.PROTECT, related_name="published_ports")
    protocol = models.CharField(
        max_length=4, choices=[(x.value, x.value) for x in (Protocol.TCP, Protocol.UDP)]
    )
    host_port = models.PositiveIntegerField()
    guest_port = models.PositiveIntegerField()

    class Meta:
        ordering = ["host_port", "protocol"]
        constraints = [
            models.UniqueConstraint(
                fields=["host", "protocol", "host_port"], name="one_published_port_a_host",
                violation_error_message=_("That port of the host is published already."),
            )
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.host}:{self.host_port}/{self.protocol}"
