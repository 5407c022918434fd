"""A machine's memory as a file: written by a qemu that stands still, read by one that waits for it.

qemu itself may open no file (its sandbox, its account): the worker opens one and hands it over.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workers.contract.errors import OffshootError
from workers.host.monitor import MonitorError, MonitorLoop, run_state
from workers.plan.qemu import SERIAL_CHARDEV

WAITING = ("-incoming", "defer")
"""Further arguments of a qemu that waits for its memory."""

KEPT_FREE_MIB = 256
"""Room that a saving leaves on the host's disk: without any, the disks of other machines would stand still."""

_BYTES_A_SECOND = 1 << 40
"""As fast as the disk takes it; qemu's own limit would be 128 MiB/s."""
_POLL_SECONDS = 0.05
_LOAD_SECONDS = 3600.0
_LINE_SECONDS = 20.0
"""Without somebody there the machine is woken all the same: most of them are not writing just then."""
_LINE_POLL_SECONDS = 0.005


class StateError(OffshootError):
    """The memory could not be written or read; the detail has qemu's words."""


def write(
    socket: Path,
    monitors: MonitorLoop,
    path: Path,
    *,
    tell: Callable[[int], None],
    end_early: Callable[[], None],
) -> None:
    """Write the memory of a machine that stands still to a new file; durable when this returns.

    Raises StateError, or what `end_early` raises: then the writing is over, and the file is as far as it got.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            monitors.execute(
                socket,
                ("migrate-set-parameters", {"max-bandwidth": _BYTES_A_SECOND}),
                ("migrate", {"uri": "fd:memory"}),
                fds={"memory": descriptor},
            )
            _until_written(socket, monitors, path.parent, tell, end_early)
        except BaseException:
            stop_writing(socket, monitors)
            raise
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def stop_writing(socket: Path, monitors: MonitorLoop) -> None:
    """Whatever is being written is no longer: afterwards the machine can go on. Harmless where nothing is."""
    try:
        monitors.execute(socket, ("migrate_cancel", {}))
        deadline = time.monotonic() + 10
        while _migration(socket, monitors).get("status") == "cancelling" and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    except MonitorError:
        pass  # it is gone, and its writing with it


def read(socket: Path, monitors: MonitorLoop, path: Path, *, end_early: Callable[[], None]) -> None:
    """Have a qemu that was started with WAITING read its memory; it stands still afterwards. Raises StateError, MonitorError.

    A character that the serial port was about to write is sent on only if somebody is at the port's other end by then; else
    the port is stuck for good (qemu 7.2, hw/char/serial.c, serial_post_load). The watcher comes as soon as qemu runs.
    """
    deadline = time.monotonic() + _LINE_SECONDS
    while not _serial_port_is_read(socket, monitors) and time.monotonic() < deadline:
        end_early()
        time.sleep(_LINE_POLL_SECONDS)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        monitors.execute(socket, ("migrate-incoming", {"uri": "fd:memory"}), fds={"memory": descriptor})
    finally:
        os.close(descriptor)
    deadline = time.monotonic() + _LOAD_SECONDS
    while True:
        if run_state(socket, monitors) != "inmigrate":
            return
        migration = _migration(socket, monitors)
        if migration.get("status") == "failed" or time.monotonic() > deadline:
            raise StateError(str(migration.get("error-desc", "it was not read in time")))
        end_early()
        time.sleep(_POLL_SECONDS)


def room_mib(folder: Path) -> int:
    """What is free where the folder lies."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize // (1024 * 1024)


def _until_written(
    socket: Path,
    monitors: MonitorLoop,
    folder: Path,
    tell: Callable[[int], None],
    end_early: Callable[[], None],
) -> None:
    while True:
        migration = _migration(socket, monitors)
        status = migration.get("status")
        if status == "completed":
            return
        if status in ("failed", "cancelled", "none", None):
            raise StateError(str(migration.get("error-desc", f"qemu says: {status}")))
        end_early()
        if room_mib(folder) < KEPT_FREE_MIB:
            raise StateError(f"less than {KEPT_FREE_MIB} MiB would be left free on the host's disk")
        ram = migration.get("ram")
        if ram and ram["total"]:
            tell(int(100 * (1 - ram["remaining"] / ram["total"])))
        time.sleep(_POLL_SECONDS)


def _serial_port_is_read(socket: Path, monitors: MonitorLoop) -> bool:
    """Somebody is connected to it; also where the machine has none."""
    [devices] = monitors.execute(socket, ("query-chardev", {}))
    return not any(
        each.get("label") == SERIAL_CHARDEV and str(each.get("filename")).startswith("disconnected:")
        for each in devices
    )


def _migration(socket: Path, monitors: MonitorLoop) -> dict[str, Any]:
    [answer] = monitors.execute(socket, ("query-migrate", {}))
    return answer if isinstance(answer, dict) else {}
