"""What is in a disk's file, written and looked at from outside while its machine is off; no guest has to run for it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from workers.contract.disks import DiskKind

MIB = 1024 * 1024


def format_by_name(path: Path) -> str:
    """qemu's word for what the file is, as its name says."""
    return "qcow2" if path.suffix == ".qcow2" else "raw"


def write(path: Path, pattern: int, *, offset: int = 0, size: int = MIB) -> None:
    """Fill a part of the disk with one byte."""
    _io(path, f"write -P {pattern} {offset} {size}")


def holds(path: Path, pattern: int, *, offset: int = 0, size: int = MIB) -> bool:
    """That part is full of that byte, what the disk stands on included."""
    return "Pattern verification failed" not in _io(path, f"read -P {pattern} {offset} {size}", "-r")


def facts(path: Path) -> dict[str, object]:
    """What qemu-img says of it."""
    argv = ("qemu-img", "info", "--force-share", "--output=json", str(path))
    told = subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
    found: dict[str, object] = json.loads(told)
    return found


def taken_mib(path: Path) -> float:
    """The room that it takes on the host."""
    return path.stat().st_blocks * 512 / MIB


def only_file(folder: Path, kind: DiskKind) -> Path:
    """The one disk of this kind in a machine's folder."""
    [path] = folder.glob("*.qcow2" if kind is DiskKind.GROWING else "*.raw")
    return path


def _io(path: Path, command: str, *options: str) -> str:
    argv = ("qemu-io", *options, "-f", format_by_name(path), "-c", command, str(path))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if "rror" in done.stderr or "no file open" in done.stdout:
        raise AssertionError(f"{argv}: {done.stdout}{done.stderr}")
    return done.stdout
