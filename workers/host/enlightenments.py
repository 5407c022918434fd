"""Whether the kernel's KVM can show a Windows guest the interfaces that it looks for (Hyper-V's)."""

from __future__ import annotations

import fcntl
import os

_CHECK_EXTENSION = 0xAE03
_WANTED = (44, 45, 46, 96, 123, 148, 149, 155, 161)
"""KVM_CAP_HYPERV and those of its parts that plan/qemu.py asks for (linux/kvm.h); newer kernels can be built without."""


def kvm_is_enlightened() -> bool:
    """All of them are there. False where /dev/kvm does not open."""
    try:
        device = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return all(fcntl.ioctl(device, _CHECK_EXTENSION, number) > 0 for number in _WANTED)
    except OSError:
        return False
    finally:
        os.close(device)
