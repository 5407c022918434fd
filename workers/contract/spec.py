"""What a machine shall be: the whole wish, in ids, sizes and choices, never in paths or arguments."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from workers.contract.version import Message

MIB = 1024 * 1024
GIB = 1024 * MIB

MacAddress = Annotated[str, StringConstraints(pattern=r"^52:54:00(:[0-9a-f]{2}){3}$")]
"""A MAC of the range that qemu guests use; the first octet is unicast and locally administered."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
MachineName = Annotated[str, StringConstraints(min_length=1, max_length=63)]


class Power(StrEnum):
    """The wanted state of a machine."""

    RUNNING = "running"
    OFF = "off"
    GONE = "gone"


class StopMode(StrEnum):
    """How a running machine is brought to OFF: asked through ACPI, or cut off."""

    ASK = "ask"
    FORCE = "force"


class DiskKind(StrEnum):
    """`growing` is qcow2 and takes what is written; `fixed` is raw with all of its room reserved at once."""

    GROWING = "growing"
    FIXED = "fixed"


class DiskBus(StrEnum):
    """The controller a guest sees: paravirtual, or emulated for guests without a driver."""

    VIRTIO = "virtio"
    SATA = "sata"


class NicModel(StrEnum):
    """The network card a guest sees: paravirtual, or emulated for guests without a driver."""

    VIRTIO = "virtio"
    E1000 = "e1000"


class BootFrom(StrEnum):
    """What the firmware tries first; the other one is tried next."""

    DISC = "disc"
    DISK = "disk"


class DiskSpec(Message):
    """One disk of a machine."""

    id: UUID
    size_bytes: int = Field(ge=MIB, le=64 * 1024 * GIB, multiple_of=MIB)
    kind: DiskKind
    bus: DiskBus = DiskBus.VIRTIO


class DiscSpec(Message):
    """The installation disc in the drive; the host fetches it from the portal's library by this id."""

    image_id: UUID
    size_bytes: int = Field(gt=0, le=1024 * GIB)
    sha256: Sha256


class NetworkSpec(Message):
    """A NAT network: a bridge with the first address of the subnet, DHCP, DNS and a way out."""

    id: UUID
    subnet: IPv4Network = Field(description="from /16 to /29, a private range")

    @model_validator(mode="after")
    def _a_private_subnet_of_sensible_size(self) -> NetworkSpec:
        if not 16 <= self.subnet.prefixlen <= 29 or not self.subnet.is_private:
            raise ValueError("the subnet is not a private range from /16 to /29")
        return self

    @property
    def gateway(self) -> IPv4Address:
        """The host's own address on the bridge: the first of the subnet."""
        return self.subnet[1]


class NicSpec(Message):
    """One network card: its fixed MAC and the fixed address that DHCP gives it."""

    network: NetworkSpec
    mac: MacAddress
    address: IPv4Address
    model: NicModel = NicModel.VIRTIO

    @model_validator(mode="after")
    def _the_address_is_a_guests(self) -> NicSpec:
        subnet = self.network.subnet
        reserved = (subnet.network_address, subnet.broadcast_address, self.network.gateway)
        if self.address not in subnet or self.address in reserved:
            raise ValueError(f"{self.address} is not a guest's address in {subnet}")
        return self


class MachineSpec(Message):
    """One machine, whole. Applying it twice changes nothing; an older generation never undoes a newer one.

    `run` counts the starts that a person asked for: a running machine of an earlier run is restarted.
    """

    machine_id: UUID
    generation: int = Field(ge=1)
    run: int = Field(ge=0)
    power: Power
    stop_mode: StopMode = StopMode.ASK
    name: MachineName
    cpus: int = Field(ge=1, le=256)
    memory_mib: int = Field(ge=64, le=4 * 1024 * 1024)
    disks: tuple[DiskSpec, ...] = Field(max_length=16)
    disc: DiscSpec | None = None
    boot_from: BootFrom = BootFrom.DISC
    nics: tuple[NicSpec, ...] = Field(max_length=8)
