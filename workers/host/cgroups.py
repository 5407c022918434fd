"""A control group of its own for each machine, where the host has cgroup v2 (kernel: cgroup-v2.rst).

Outside the worker's group, a machine is not ended with the worker's service. Where no group can be made, the
machine still has a session of its own; nothing depends on more.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from uuid import UUID

_MOUNTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))


def adopt(machine_id: UUID, pid: int) -> None:
    """Move a process into the machine's group."""
    root = _root()
    if root is None:
        return
    with suppress(OSError):
        group = root / "offshoot" / str(machine_id)
        group.mkdir(parents=True, exist_ok=True)
        (group / "cgroup.procs").write_text(str(pid))


def drop(machine_id: UUID) -> None:
    """Remove the machine's group, and ours with the last one."""
    root = _root()
    if root is None:
        return
    with suppress(OSError):
        (root / "offshoot" / str(machine_id)).rmdir()
        (root / "offshoot").rmdir()


def _root() -> Path | None:
    return next((mount for mount in _MOUNTS if (mount / "cgroup.controllers").exists()), None)
