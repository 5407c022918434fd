"""How a disk's file is made: the argument list for a growing one; a fixed one needs no program."""

from __future__ import annotations

from pathlib import Path

from workers.contract.spec import DiskKind, DiskSpec

QEMU_IMG = "qemu-img"


def create_argv(disk: DiskSpec, path: Path) -> tuple[str, ...]:
    """qemu-img's arguments for a growing disk (qemu-img(1)). `path` must be absolute, so that it is no option or URL."""
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
