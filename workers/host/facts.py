"""What this host is and has, read from /proc and /sys (kernel: Documentation/filesystems/proc.rst)."""

from __future__ import annotations

import os
import platform
import re
import shutil
from pathlib import Path

from workers.contract.host import (
    CPU_WEIGHT_FEATURE,
    TPM_FEATURE,
    UEFI_FEATURE,
    CpuFacts,
    HostFacts,
    HostUsage,
    InterfaceFacts,
    KvmProbe,
)
from workers.host import cgroups
from workers.host.commands import PROGRAMS
from workers.host.firmware import has_uefi
from workers.host.probe import qemu_version
from workers.host.shaping import missing_for_limits
from workers.plan.firmware import SWTPM, UEFI

MIB = 1024 * 1024
_FEATURE_CONTROL = 0x3A  # IA32_FEATURE_CONTROL: bit 0 locked, bit 2 VMX outside SMX (Intel SDM volume 4)


def cpu_from(cpuinfo: str) -> tuple[str, int, str | None]:
    """Model, threads and virtualization extension out of the text of /proc/cpuinfo."""
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    flags = re.search(r"^flags\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    words = set(flags.group(1).split()) if flags else set()
    extension = next((name for name in ("vmx", "svm") if name in words), None)
    threads = len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE))
    return (model.group(1).strip() if model else "unknown", max(1, threads), extension)


def cpu_facts() -> CpuFacts:
    """The processor and the kernel's side of hardware-assisted virtualization."""
    model, threads, extension = cpu_from(Path("/proc/cpuinfo").read_text())
    modules = tuple(name for name in ("kvm", "kvm_intel", "kvm_amd") if Path(f"/sys/module/{name}").exists())
    device = Path("/dev/kvm")
    return CpuFacts(
        model=model,
        threads=threads,
        extension=extension,
        switched_on_in_firmware=_switched_on(extension, modules),
        kvm_modules=modules,
        kvm_device=device.exists(),
        kvm_device_opens=_opens(device),
    )


def host_facts(kvm: KvmProbe | None, interfaces: tuple[InterfaceFacts, ...] = ()) -> HostFacts:
    """Everything that changes seldom."""
    return HostFacts(
        cpu=cpu_facts(),
        kvm=kvm,
        qemu_version=qemu_version(),
        kernel=platform.release(),
        missing_features=missing_features(),
        interfaces=interfaces,
    )


def missing_features() -> tuple[str, ...]:
    """What would be used if the kernel or the host had it."""
    wanted = {
        "vhost-net": Path("/dev/vhost-net").exists(),
        CPU_WEIGHT_FEATURE: cgroups.can_weigh(),
        "systemd": Path("/run/systemd/system").exists(),
        UEFI_FEATURE: all(has_uefi(each) for each in UEFI),
        TPM_FEATURE: shutil.which(SWTPM, path=PROGRAMS) is not None,
    }
    return (*(name for name, there in wanted.items() if not there), *missing_for_limits())


def host_usage(folder: Path) -> HostUsage:
    """What is used and free right now; cheap, asked for every few seconds."""
    meminfo = Path("/proc/meminfo").read_text()
    disk = os.statvfs(folder)
    return HostUsage(
        memory_total_mib=_kib(meminfo, "MemTotal") // 1024,
        memory_free_mib=_kib(meminfo, "MemAvailable") // 1024,
        disk_total_mib=disk.f_blocks * disk.f_frsize // MIB,
        disk_free_mib=disk.f_bavail * disk.f_frsize // MIB,
        load=os.getloadavg()[0],
    )


def _kib(meminfo: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", meminfo, re.MULTILINE)
    return int(found.group(1)) if found else 0


def _switched_on(extension: str | None, modules: tuple[str, ...]) -> bool | None:
    """Whether the firmware lets the extension be used; None where it cannot be told."""
    if extension is None:
        return None
    if "kvm_intel" in modules or "kvm_amd" in modules:
        return True
    try:
        with Path("/dev/cpu/0/msr").open("rb") as msr:
            msr.seek(_FEATURE_CONTROL)
            value = int.from_bytes(msr.read(8), "little")
    except OSError:
        return None
    return extension == "vmx" and value & 0b101 == 0b101


def _opens(device: Path) -> bool:
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True
