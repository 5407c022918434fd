"""What a machine's qemu takes of the host, read from /proc; and that it is this machine's, by the lock that only it holds."""

from __future__ import annotations

import os
import stat
from itertools import pairwise
from uuid import UUID

from workers.plan.figures import ProcessStat, process_stat
from workers.plan.names import MachineFolder

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
_MOST_BYTES = 64 * 1024


class Vitals:
    """One living qemu, held by its folder in /proc: that never becomes another process's, also where its number does."""

    def __init__(self, process: int) -> None:
        self._process = process

    def read(self) -> ProcessStat | None:
        """What it has taken so far; None once it has ended."""
        try:
            return process_stat(_read(self._process, "stat").decode(errors="replace"))
        except (OSError, ValueError, IndexError):
            return None

    def close(self) -> None:
        """Let go of it; once."""
        os.close(self._process)


def vitals_of(folder: MachineFolder, machine_id: UUID) -> Vitals | None:
    """The machine's qemu; None where it does not run, or its number cannot be told.

    The number is a hint that qemu writes into its own folder, and qemu may have been taken over: what it names must have
    the machine's uuid in its command line and hold the machine's life.lock.
    """
    number = _hinted(folder)
    if number is None:
        return None
    try:
        process = os.open(f"/proc/{number}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        arguments = _read(process, "cmdline").split(b"\0")
        is_named = (b"-uuid", str(machine_id).encode()) in pairwise(arguments)
        if is_named and _holds(process, folder):
            return Vitals(process)
    except OSError:
        pass  # it ended meanwhile
    os.close(process)
    return None


def _hinted(folder: MachineFolder) -> int | None:
    try:
        descriptor = os.open(folder.pid_file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        said = os.read(descriptor, 16).strip()
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return int(said) if said.isdigit() else None


def _holds(process: int, folder: MachineFolder) -> bool:
    lock = folder.life_lock.stat()
    descriptors = os.open("fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=process)
    try:
        for name in os.listdir(descriptors):  # noqa: PTH208  by its descriptor
            found = os.stat(name, dir_fd=descriptors)
            if (found.st_dev, found.st_ino) == (lock.st_dev, lock.st_ino):
                return True
    finally:
        os.close(descriptors)
    return False


def _read(process: int, name: str) -> bytes:
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
    try:
        return os.read(descriptor, _MOST_BYTES)
    finally:
        os.close(descriptor)
