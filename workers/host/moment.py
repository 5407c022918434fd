"""Keeping a running machine's memory while it goes on: it stands still only for the last part, and for what is done then.

qemu writes its memory as for a migration, into a file that it is handed. With `pause-before-switchover` it stops the
machine when little is left to write, with its disks still open: what happens then belongs to the same instant as the
memory. Afterwards (`postmigrate`) its disks are closed: they may not be touched before the machine has gone on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workers.contract.errors import OffshootError
from workers.host.monitor import MonitorError, MonitorLoop, run_state
from workers.killpoints import reached

KEPT_FREE_MIB = 512
"""Room that the host's disk keeps: without any, the disks of other machines would stand still."""

_BYTES_A_SECOND = 1 << 40
_SHORT_STOP_MS = 300
_ANY_STOP_MS = 2_000_000
_MOST_ROUNDS = 5
"""A guest that changes its memory faster than it is written is stopped for the rest after so many rounds."""
_MOST_SECONDS = 120.0
_POLL_SECONDS = 0.05
_STATUS_SECONDS = 30.0
_FINISHING_SECONDS = 0.005
_WRITING = ("setup", "active", "device", "cancelling")


class MomentError(OffshootError):
    """The memory could not be written; the detail has qemu's words."""


def keep_memory(
    socket: Path,
    monitors: MonitorLoop,
    path: Path,
    *,
    stood_still: bool,
    at_the_instant: Callable[[], None],
    tell: Callable[[int], None],
    end_early: Callable[[], None],
) -> None:
    """Write the machine's memory to a new file and do `at_the_instant` while it stands still; durable when this returns.

    The machine goes on, unless it `stood_still` before. Raises MomentError, MonitorError, OSError, or what the callables
    raise: then it goes on as well, and the file is of no use.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            monitors.execute(
                socket,
                ("migrate-set-capabilities", _pausing(True)),
                ("migrate-set-parameters", _parameters(_SHORT_STOP_MS)),
                ("migrate", {"uri": "fd:memory"}),
                fds={"memory": descriptor},
            )
            _until_it_stands_still(socket, monitors, path.parent, tell, end_early)
            reached("memory stands still")
            at_the_instant()
            reached("disks kept at the instant")
            monitors.execute(socket, ("migrate-continue", {"state": "pre-switchover"}))
            _until(socket, monitors, "completed")
            reached("memory written whole")
        finally:
            go_on(socket, monitors, stood_still=stood_still)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def go_on(socket: Path, monitors: MonitorLoop, *, stood_still: bool = False) -> None:
    """End any writing and let the machine be as it was before it; harmless where nothing is written.

    `stood_still`: it did so before, and does again. Raises MonitorError.
    """
    if _migration(socket, monitors).get("status") in (*_WRITING, "pre-switchover"):
        monitors.execute(socket, ("migrate_cancel", {}))
        deadline = time.monotonic() + _STATUS_SECONDS
        while _migration(socket, monitors).get("status") in (*_WRITING, "pre-switchover"):
            if time.monotonic() > deadline:
                raise MonitorError("qemu does not end writing its memory")
            time.sleep(_POLL_SECONDS)
    deadline = time.monotonic() + _STATUS_SECONDS
    while (status := run_state(socket, monitors)) == "finish-migrate" and time.monotonic() < deadline:
        time.sleep(_FINISHING_SECONDS)  # all is written, but qemu refuses to go on before it is done with it
    if status in ("postmigrate", "finish-migrate") or (status == "paused" and not stood_still):
        # Going on is what opens its disks again.
        monitors.execute(socket, ("cont", {}), *((("stop", {}),) if stood_still else ()))
    monitors.execute(socket, ("migrate-set-capabilities", _pausing(False)))


@contextmanager
def standing_still(socket: Path, monitors: MonitorLoop, *, stood_still: bool) -> Iterator[None]:
    """The machine's processors and disks are at rest while what is inside is done; it goes on, unless it `stood_still` before.

    qemu 7.2 was seen to hang where a disk's tables were changed while its own thread was writing to it.
    """
    if stood_still:
        yield
        return
    monitors.execute(socket, ("stop", {}))
    try:
        yield
    finally:
        monitors.execute(socket, ("cont", {}))


def _until_it_stands_still(
    socket: Path,
    monitors: MonitorLoop,
    folder: Path,
    tell: Callable[[int], None],
    end_early: Callable[[], None],
) -> None:
    begun, shortly = time.monotonic(), True
    while True:
        migration = _migration(socket, monitors)
        status = migration.get("status")
        if status == "pre-switchover":
            return
        if status not in _WRITING:
            raise MomentError(str(migration.get("error-desc", f"qemu says: {status}")))
        end_early()
        room = os.statvfs(folder)
        if room.f_bavail * room.f_frsize < KEPT_FREE_MIB * 1024 * 1024:
            raise MomentError(f"less than {KEPT_FREE_MIB} MiB would be left free on the host's disk")
        ram = migration.get("ram") or {}
        if ram.get("total"):
            tell(int(100 * (1 - ram["remaining"] / ram["total"])))
        rounds = int(ram.get("dirty-sync-count", 0))
        if shortly and (rounds > _MOST_ROUNDS or time.monotonic() - begun > _MOST_SECONDS):
            shortly = False
            monitors.execute(socket, ("migrate-set-parameters", _parameters(_ANY_STOP_MS)))
        time.sleep(_POLL_SECONDS)


def _until(socket: Path, monitors: MonitorLoop, wanted: str) -> None:
    while (status := _migration(socket, monitors).get("status")) != wanted:
        if status not in (*_WRITING, "pre-switchover"):
            raise MomentError(str(_migration(socket, monitors).get("error-desc", f"qemu says: {status}")))
        time.sleep(_POLL_SECONDS)


def _pausing(state: bool) -> dict[str, Any]:
    return {"capabilities": [{"capability": "pause-before-switchover", "state": state}]}


def _parameters(longest_stop_ms: int) -> dict[str, Any]:
    return {"max-bandwidth": _BYTES_A_SECOND, "downtime-limit": longest_stop_ms}


def _migration(socket: Path, monitors: MonitorLoop) -> dict[str, Any]:
    [answer] = monitors.execute(socket, ("query-migrate", {}))
    return answer if isinstance(answer, dict) else {}
