"""What a host says of itself: what it can do, how much it has and how much is used."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from workers.contract.version import Message

UEFI_FEATURE = "UEFI firmware (package ovmf)"
TPM_FEATURE = "TPM (package swtpm)"
"""Among a host's missing features: machines that need one of these do not start on it."""

BANDWIDTH_IN_FEATURE = "Bandwidth limits to machines (kernel: sch_tbf)"
BANDWIDTH_OUT_FEATURE = "Bandwidth limits from machines (kernel: ifb, sch_ingress, cls_u32, act_mirred)"
CPU_WEIGHT_FEATURE = "Processor shares (cgroup controller cpu)"
"""Among a host's missing features: what a machine may take of it cannot be limited in this way."""


class KvmAnswer(StrEnum):
    """The result of really running a small 64-bit guest under KVM."""

    NO_MODULE = "no_module"
    NO_PERMISSION = "no_permission"
    QEMU_FAILED = "qemu_failed"
    TOO_SLOW = "too_slow"
    WORKS = "works"


class KvmProbe(Message):
    """The answer, with its evidence.

    `detail` is qemu's own words or what was measured. Times are wall seconds of the whole run, start of qemu
    included; None where the run did not end by itself. `slower_than_tcg` is how many times longer than TCG
    the same guest takes at least (1.0 or less where KVM is faster).
    """

    answer: KvmAnswer
    detail: str
    kvm_seconds: float | None = None
    tcg_seconds: float | None = None
    slower_than_tcg: float | None = None


class CpuFacts(Message):
    """What /proc/cpuinfo and the kernel say of hardware-assisted virtualization."""

    model: str
    threads: int = Field(ge=1)
    extension: str | None = Field(description="'vmx' (Intel VT-x), 'svm' (AMD-V), or None")
    switched_on_in_firmware: bool | None = Field(description="None where it cannot be told")
    kvm_modules: tuple[str, ...]
    kvm_device: bool = Field(description="/dev/kvm is there")
    kvm_device_opens: bool


class PlaceFacts(Message):
    """A folder for disks (a pool) or for backups, by its name; sizes in MiB."""

    name: str
    total_mib: int = Field(ge=0)
    free_mib: int = Field(ge=0)
    problem: str = Field(default="", description="why it cannot be used now, empty where it can")


class InterfaceFacts(Message):
    """A network card or bridge of the host's own. `ports` are a bridge's; `bridge` is whose port a card is."""

    name: str
    is_bridge: bool
    mac: str
    is_up: bool
    addresses: tuple[str, ...] = ()
    has_default_route: bool = False
    ports: tuple[str, ...] = ()
    bridge: str = ""
    is_ours: bool = Field(default=False, description="a bridge that we made around a card")
    is_leased: bool = Field(default=False, description="an IPv4 address of it is given for a time: by DHCP")


class HostFacts(Message):
    """What changes seldom; gathered when the worker starts, its cards and bridges again and again."""

    cpu: CpuFacts
    kvm: KvmProbe | None = Field(description="None while the probe is still running")
    qemu_version: str
    kernel: str
    missing_features: tuple[str, ...] = Field(
        description="features of its kernel and programs that would be used if they were here"
    )
    interfaces: tuple[InterfaceFacts, ...] = ()


MOST_REPAIRS = 10


class Repair(Message):
    """Something of the networks that was not as it should be and was put right; `at` in seconds since the epoch."""

    at: int = Field(ge=0)
    what: str = Field(max_length=120)


class HostUsage(Message):
    """What changes all the time, in MiB; free memory is MemAvailable of /proc/meminfo (kernel: proc.rst)."""

    memory_total_mib: int = Field(ge=0)
    memory_free_mib: int = Field(ge=0)
    disk_total_mib: int = Field(ge=0)
    disk_free_mib: int = Field(ge=0)
    pools: tuple[PlaceFacts, ...] = Field(default=(), description="folders for disks beside the host's own")
    backup_places: tuple[PlaceFacts, ...] = ()
    load: float = Field(ge=0, description="the one-minute load average")
    repairs: tuple[Repair, ...] = Field(
        default=(),
        max_length=MOST_REPAIRS,
        description="the last ones since the worker was started, newest first",
    )
