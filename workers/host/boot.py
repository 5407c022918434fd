"""Which boot of the host this is."""

from __future__ import annotations

from pathlib import Path

from workers.host.files import write_text
from workers.plan.names import StateFolder


def boot_id() -> str:
    """This boot of the host; another one after each (kernel: admin-guide/sysctl/kernel.rst)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def was_rebooted(state: StateFolder) -> bool:
    """The host was booted since a worker noted its boot; False where none ever did."""
    try:
        return state.boot_file.read_text() != boot_id()
    except FileNotFoundError:
        return False


def note_boot(state: StateFolder) -> None:
    """What is to be done after a boot of the host is done for this one."""
    if not state.boot_file.exists() or was_rebooted(state):
        write_text(state.boot_file, boot_id())
