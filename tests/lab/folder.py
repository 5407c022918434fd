"""A folder for a laboratory."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def small_disk(folder: Path, *, mib: int) -> Iterator[None]:
    """`folder` is a disk of its own, of so many MiB."""
    folder.mkdir()
    subprocess.run(
        ("mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=755", "offshoot-test", str(folder)), check=True
    )
    try:
        yield
    finally:
        subprocess.run(("umount", str(folder)), check=True, timeout=30)


@contextmanager
def filled(folder: Path, *, leave_mib: int = 0) -> Iterator[None]:
    """Nothing is left but so many MiB on the small disk that the folder is on, whoever else writes there meanwhile."""
    filler = folder / "filler"
    try:
        with filler.open("wb") as file:
            size, step = 0, 64 * 1024 * 1024
            while step >= 4096:
                room = os.statvfs(folder)
                if room.f_bavail * room.f_frsize - leave_mib * 1024 * 1024 >= step and _grows(
                    file, size, step
                ):
                    size += step
                else:
                    step //= 2
        yield
    finally:
        filler.unlink()


def _grows(file: BinaryIO, size: int, step: int) -> bool:
    try:
        os.posix_fallocate(file.fileno(), size, step)
    except OSError as exc:
        if exc.errno != errno.ENOSPC:
            raise
        return False
    return True


@contextmanager
def short_folder() -> Iterator[Path]:
    """A short path, since sockets lie below it (unix(7)); open to the accounts that qemu and dnsmasq run as."""
    path = Path(tempfile.mkdtemp(prefix="ofs-", dir="/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
