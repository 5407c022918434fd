"""Which boot of the host this is."""

from __future__ import annotations

from pathlib import Path


def boot_id() -> str:
    """This boot of the host; another one after each (kernel: admin-guide/sysctl/kernel.rst)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
