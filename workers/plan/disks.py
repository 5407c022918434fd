"""How disks' files are made and copied: qemu-img's argument lists (qemu-img(1)). A fixed disk is made without a program.

Every path is absolute, so that it is no option or URL, and every format is named: nothing is ever guessed from what a
guest has written.
"""

from __future__ import annotations

import re
from pathlib import Path

from workers.contract.spec import DiskKind, DiskSpec

QEMU_IMG = "qemu-img"


def format_of(kind: DiskKind) -> str:
    """What qemu calls it."""
    return "qcow2" if kind is DiskKind.GROWING else "raw"


def create_argv(disk: DiskSpec, path: Path) -> tuple[str, ...]:
    """An empty growing disk."""
    if disk.kind is not DiskKind.GROWING:
        raise ValueError("only a growing disk is made by qemu-img")
    return (
        QEMU_IMG,
        "create",
        "-q",
        "-f",
        "qcow2",
        "-o",
        "lazy_refcounts=on",
        str(path),
        str(disk.size_bytes),
    )


def overlay_argv(path: Path, size_bytes: int, *, base: Path, base_kind: DiskKind) -> tuple[str, ...]:
    """A growing disk that shares what is in `base`. -u: the base is not opened, by root least of all."""
    return (
        *(QEMU_IMG, "create", "-q", "-u", "-f", "qcow2", "-o", "lazy_refcounts=on"),
        *("-b", str(base), "-F", format_of(base_kind), str(path), str(size_bytes)),
    )


def copy_argv(source: Path, source_kind: DiskKind, target: Path, target_kind: DiskKind) -> tuple[str, ...]:
    """All that `source` shows, what it stands on included, into `target`, which is there and empty."""
    return (
        # -n and --target-is-zero: holes are not written, so that a fixed disk keeps the room that was reserved for it.
        # -t writeback: flushed at the end, which qemu-img does not do otherwise.
        *(QEMU_IMG, "convert", "-p", "-n", "--target-is-zero", "-t", "writeback"),
        *("-f", format_of(source_kind), "-O", format_of(target_kind), str(source), str(target)),
    )


def measure_argv(source: Path, kind: DiskKind) -> tuple[str, ...]:
    """How much a growing copy of it takes, as JSON."""
    return (QEMU_IMG, "measure", "--output=json", "-f", format_of(kind), "-O", "qcow2", str(source))


def chain_argv(path: Path, kind: DiskKind) -> tuple[str, ...]:
    """What it stands on, as JSON."""
    return (
        QEMU_IMG,
        "info",
        "--force-share",
        "--output=json",
        "--backing-chain",
        "-f",
        format_of(kind),
        str(path),
    )


def percent_in(line: str) -> int | None:
    """The per cent in a line of `qemu-img -p`, as in "(12.50/100%)"."""
    found = re.search(r"\((\d+)(?:\.\d+)?/100%\)", line)
    return int(found.group(1)) if found else None


def grow_argv(path: Path, size_bytes: int) -> tuple[str, ...]:
    """qemu-img's arguments that make a growing disk larger; the same size again changes nothing, a smaller one is refused."""
    return (QEMU_IMG, "resize", "-q", "-f", "qcow2", str(path), str(size_bytes))
