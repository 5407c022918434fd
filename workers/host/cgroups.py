"""A control group of its own for each machine (kernel: cgroup-v2.rst, scheduler/sched-design-CFS.rst).

Outside the worker's group, a machine is not ended with the worker's service; and by its group a machine has its share
of the processors: `cpu.weight` of cgroup v2, or `cpu.shares` of v1 where that has the controller. Groups lie directly
below the root, so that one machine's share is told against one other's, and against all that is no machine's. Where no
group can be made, the machine still has a session of its own; no start fails for want of one.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

from workers.contract.spec import NORMAL_CPU_WEIGHT
from workers.host.signals import pids_by_arguments

_MOUNTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
_OLD_CPU_MOUNTS = (Path("/sys/fs/cgroup/cpu,cpuacct"), Path("/sys/fs/cgroup/cpu"))
_NORMAL_SHARES, _LEAST_SHARES = 1024, 2
_EMPTY_SECONDS = 0.5
_MOST_WEIGHT, _HURRIED_NICE = 10_000, -15


def adopt(machine_id: UUID, pid: int) -> None:
    """Move a process into the machine's groups."""
    for root in _roots():
        with suppress(OSError):
            group = _group(root, machine_id)
            group.mkdir(exist_ok=True)
            (group / "cgroup.procs").write_text(str(pid))


def weigh(machine_id: UUID, weight: int) -> bool:
    """The living machine's share of busy processors, 100 being the normal one; False where this host cannot share them so."""
    root = _cpu_root()
    if root is None:
        return False
    group = _group(root, machine_id)
    try:
        if not group.exists() or not (group / "cgroup.procs").read_text():
            for pid in pids_by_arguments("-uuid", str(machine_id)):
                adopt(machine_id, pid)
        _write_weight(group, weight)
    except OSError:
        return False
    return True


@contextmanager
def hurried(machine_id: UUID, pid: int) -> Iterator[None]:
    """Meanwhile the machine, which was adopted, comes before all others: else one that starts waits behind each that computes."""
    _place(machine_id, pid, weight=_MOST_WEIGHT, nice=_HURRIED_NICE)
    try:
        yield
    finally:
        _place(machine_id, pid, weight=NORMAL_CPU_WEIGHT, nice=0)


def hurry_no_more(machine_id: UUID, weight: int) -> None:
    """The living machine has its own weight, and the usual place: where a worker was killed while it hurried."""
    for pid in pids_by_arguments("-uuid", str(machine_id)):
        _place(machine_id, pid, weight=weight, nice=0)


def shares(weight: int) -> int:
    """The same in the numbers of cgroup v1."""
    return max(_LEAST_SHARES, weight * _NORMAL_SHARES // NORMAL_CPU_WEIGHT)


def can_weigh() -> bool:
    """Processors can be shared by weight on this host."""
    return _cpu_root() is not None


def drop(machine_id: UUID) -> None:
    """Remove the machine's groups. One that is not empty stays: it is waited for only as long as a process takes to go."""
    until = time.monotonic() + _EMPTY_SECONDS
    for root in _roots():
        for group in (_group(root, machine_id), root / "offshoot" / str(machine_id)):
            while _is_busy(group) and time.monotonic() < until:
                time.sleep(0.01)
        with suppress(OSError):
            (root / "offshoot").rmdir()  # an earlier version's, around its groups


def _place(machine_id: UUID, pid: int, *, weight: int, nice: int) -> None:
    """By weight, or by the place of its session among all sessions (sched(7), autogroup), which counts where no group does."""
    root = _cpu_root()
    with suppress(OSError):
        if root is not None:
            _write_weight(_group(root, machine_id), weight)
        else:
            (Path("/proc") / str(pid) / "autogroup").write_text(str(nice))


def _write_weight(group: Path, weight: int) -> None:
    if (group / "cpu.weight").exists():
        (group / "cpu.weight").write_text(str(weight))
    else:
        (group / "cpu.shares").write_text(str(shares(weight)))


def _is_busy(group: Path) -> bool:
    """Try to remove it; True where a process is in it still."""
    try:
        group.rmdir()
    except OSError as exc:
        return exc.errno == errno.EBUSY
    return False


def _group(root: Path, machine_id: UUID) -> Path:
    return root / f"offshoot-{machine_id}"


def _roots() -> list[Path]:
    """Where a machine has a group: in v2's hierarchy, and in v1's of the processors where that shares them."""
    return [root for root in dict.fromkeys((_root(), _cpu_root())) if root is not None]


def _root() -> Path | None:
    return next((mount for mount in _MOUNTS if (mount / "cgroup.controllers").exists()), None)


def _cpu_root() -> Path | None:
    root = _root()
    if root is not None and _shares_processors(root):
        return root
    return next((mount for mount in _OLD_CPU_MOUNTS if os.access(mount / "cpu.shares", os.W_OK)), None)


def _shares_processors(root: Path) -> bool:
    """The groups below the root of v2 have weights; switched on where it was not. A container's root refuses that."""
    try:
        if "cpu" not in (root / "cgroup.controllers").read_text().split():
            return False
        control = root / "cgroup.subtree_control"
        if "cpu" not in control.read_text().split():
            control.write_text("+cpu")
    except OSError:
        return False
    return True
