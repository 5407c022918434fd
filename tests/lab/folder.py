"""A folder for a laboratory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short_folder() -> Iterator[Path]:
    """A short path, since sockets lie below it (unix(7)); open to the accounts that qemu and dnsmasq run as."""
    path = Path(tempfile.mkdtemp(prefix="ofs-", dir="/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
