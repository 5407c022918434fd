"""What a machine shall be: the whole wish, in ids, sizes and choices, never in paths or arguments."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from workers.contract.disks import GIB, MIB, DiscSpec, DiskBus, DiskKind, DiskSpec
from workers.contract.networks import FirewallSpec, NetworkKind, NetworkSpec, NicModel, NicSpec
from workers.contract.version import Message

__all__ = [
    "GIB", "MIB", "Autostart", "BootFrom", "DiscSpec", "DiskBus", "DiskKind", "DiskSpec", "Firmware", "GuestKind",
    "MachineSpec", "NetworkKind", "NetworkSpec", "NicModel", "NicSpec", "Power", "SeedSpec", "StopMode",
]  # fmt: skip

LEAST_CPU_WEIGHT, NORMAL_CPU_WEIGHT, MOST_CPU_WEIGHT = 1, 100, 10_000

MachineName = Annotated[str, StringConstraints(min_length=1, max_length=63)]


class Power(StrEnum):
    """The wanted state of a machine. `saved`: its memory lies in a file, and it goes on from there when it runs again."""

    RUNNING = "running"
    PAUSED = "paused"
    SAVED = "saved"
    OFF = "off"
    GONE = "gone"


class StopMode(StrEnum):
    """How a running machine is brought to OFF: asked through ACPI, or cut off."""

    ASK = "ask"
    FORCE = "force"


class BootFrom(StrEnum):
    """What the firmware tries first; the other one is tried next."""

    DISC = "disc"
    DISK = "disk"


class Firmware(StrEnum):
    """What starts the machine's system. `uefi_secure` starts only what a known key has signed (Secure Boot)."""

    BIOS = "bios"
    UEFI = "uefi"
    UEFI_SECURE = "uefi_secure"


class GuestKind(StrEnum):
    """What kind of system it is for: which imitated hardware and clock it finds."""

    LINUX = "linux"
    WINDOWS = "windows"
    OTHER = "other"


class Autostart(StrEnum):
    """What happens to the machine when its host has been restarted."""

    AS_BEFORE = "as_before"
    ALWAYS = "always"
    NEVER = "never"


class SeedSpec(Message):
    """What a cloud image reads at its first start (cloud-init, NoCloud). `password_hash` is a crypt(5) hash."""

    user: str = Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")
    ssh_keys: tuple[str, ...] = Field(default=(), max_length=20)
    password_hash: str = Field(default="", max_length=512, pattern=r"^(\$[0-9a-zA-Z./$,=-]+)?$")
    host_name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    packages: tuple[str, ...] = Field(default=(), max_length=50)


class MachineSpec(Message):
    """One machine, whole. Applying it twice changes nothing; an older generation never undoes a newer one.

    `run` counts the starts that a person asked for: a running machine of an earlier run is restarted. `memory_mib` is
    what it has, `memory_most_mib` what it can be given while it runs (None: no more). `boot_slot` is the disk that is
    tried first. `seed` is made when the machine is. `cpu_weight` is its share of busy processors against its neighbours'
    (cgroup v2: cpu.weight). `firewall` is None where everything may pass.
    """

    machine_id: UUID
    generation: int = Field(ge=1)
    run: int = Field(ge=0)
    power: Power
    stop_mode: StopMode = StopMode.ASK
    name: MachineName
    cpus: int = Field(ge=1, le=256)
    cpu_weight: int = Field(default=NORMAL_CPU_WEIGHT, ge=LEAST_CPU_WEIGHT, le=MOST_CPU_WEIGHT)
    memory_mib: int = Field(ge=64, le=4 * 1024 * 1024)
    memory_most_mib: int | None = Field(default=None, ge=64, le=4 * 1024 * 1024)
    guest: GuestKind = GuestKind.LINUX
    firmware: Firmware = Firmware.BIOS
    tpm: bool = False
    autostart: Autostart = Autostart.AS_BEFORE
    disks: tuple[DiskSpec, ...] = Field(max_length=16)
    disc: DiscSpec | None = None
    second_disc: DiscSpec | None = None
    boot_from: BootFrom = BootFrom.DISC
    boot_slot: int = Field(default=0, ge=0, le=15)
    seed: SeedSpec | None = None
    nics: tuple[NicSpec, ...] = Field(max_length=8)
    firewall: FirewallSpec | None = None

    @property
    def has_second_drive(self) -> bool:
        """A second disc drive, for a driver disc beside the system's own; Linux has its drivers and gets one only for a disc."""
        return self.guest is not GuestKind.LINUX or self.second_disc is not None

    @model_validator(mode="after")
    def _slots_are_used_once(self) -> MachineSpec:
        for what in (self.disks, self.nics):
            slots = [each.slot for each in what]
            if len(set(slots)) != len(slots):
                raise ValueError("two devices are in one slot")
        if self.memory_most_mib is not None and self.memory_most_mib < self.memory_mib:
            raise ValueError("the machine has more memory than it can have")
        return self
