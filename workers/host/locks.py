"""File locks of the kernel: they end with their holder, however it ends."""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class LockBusy(Exception):
    """Somebody else held the lock for all of the time that was given."""


@contextmanager
def locked_within(path: Path, *, seconds: float, between: Callable[[], None]) -> Iterator[None]:
    """The same as locked, but at most `seconds` are waited, and `between` is called meanwhile. Raises LockBusy."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + seconds
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LockBusy(str(path)) from None
            between()
            time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the exclusive lock on `path` (flock(2)), waiting for it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def locked_at_once(path: Path) -> Iterator[bool]:
    """Hold the lock of `locked` if nobody else does; False where somebody does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def try_lock(path: Path) -> int | None:
    """An open descriptor that holds the lock, for a child to inherit; None where somebody holds it.

    The lock belongs to the open file, not to a process (fcntl(2), open file description locks), so a child keeps it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _whole_file(fcntl.F_WRLCK))
    except (BlockingIOError, PermissionError):
        os.close(descriptor)
        return None
    return descriptor


def is_held(path: Path) -> bool:
    """Somebody holds the lock of try_lock. Looking takes nothing: nobody who takes it meanwhile is turned away."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _whole_file(fcntl.F_WRLCK))
    finally:
        os.close(descriptor)
    return bool(struct.unpack_from("h", found)[0] != fcntl.F_UNLCK)


def wait_free(path: Path, *, seconds: float) -> bool:
    """Wait until nobody holds the lock; False where that took longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while is_held(path):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _whole_file(kind: int) -> bytes:
    """struct flock of a 64-bit Linux: type, whence, start, length (0: to the end), process."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 0, 0)
