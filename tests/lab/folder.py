"""A folder for a laboratory."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
def short_folder() -> Iterator[Path]:
    """A short path, since sockets lie below it (unix(7)); open to the accounts that qemu and dnsmasq run as."""
    path = Path(tempfile.mkdtemp(prefix="ofs-", dir="/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
