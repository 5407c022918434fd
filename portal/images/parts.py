"""The files of the library on their way in: locked, appended to, summed up, put on the shelf."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Protocol

_BLOCK_BYTES = 256 * 1024


class Readable(Protocol):
    """What bytes are read from: a request, or a file."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""


class Busy(Exception):
    """Another request writes to the same file now."""


class TooMuch(Exception):
    """More bytes came than were allowed; none of them was kept."""


@contextmanager
def locked(path: Path) -> Iterator[FileIO]:
    """The part file, made where it is missing, for one writer at a time (flock(2)). Raises Busy, never waits."""
    make_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    # Unbuffered: a buffer would be written once more on closing, after a full disk as well.
    with FileIO(descriptor, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise Busy from exc
        yield file


def append(file: FileIO, source: Readable, *, at: int, most: int) -> int:
    """Write what `source` gives, `most` bytes at the most, behind `at`; how many. They are on the disk when it returns.

    Raises TooMuch, OSError, and whatever `source` raises; the file then ends at `at`, as before.
    """
    taken = 0
    try:
        file.truncate(at)
        file.seek(at)
        while block := source.read(_BLOCK_BYTES):
            taken += len(block)
            if taken > most:
                raise TooMuch
            write(file, block)
        os.fsync(file.fileno())
    except BaseException:
        file.truncate(at)
        raise
    return taken


def copy(source: BinaryIO, target: FileIO, *, told: Callable[[int], None] | None = None) -> str:
    """Copy all of `source`; the SHA-256 of what was written, in hex. It is on the disk when it returns."""
    digest = hashlib.sha256()
    source.seek(0)
    copied = 0
    while block := source.read(_BLOCK_BYTES):
        digest.update(block)
        write(target, block)
        copied += len(block)
        if told is not None:
            told(copied)
    os.fsync(target.fileno())
    return digest.hexdigest()


def sha256(file: FileIO) -> str:
    """The SHA-256 of the whole file, in hex, in little memory."""
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def shelve(part: Path, target: Path) -> None:
    """Give the whole part its name in the library too. A crash before the row is written leaves the part as it was."""
    make_folder(target.parent)
    target.unlink(missing_ok=True)  # left by a crash at this very place
    os.link(part, target)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def make_folder(folder: Path) -> None:
    """The folder is there, for the portal's account only."""
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        give_to_owner_of(folder.parent, folder)


def give_to_owner_of(folder: Path, path: Path) -> None:
    """What root made (`manage.py add_image` under sudo) belongs to the portal's account, as all around it."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def write(file: FileIO, block: bytes) -> None:
    """All of the block: a raw file may take less at once (write(2))."""
    rest = memoryview(block)
    while rest:
        rest = rest[file.write(rest) :]
