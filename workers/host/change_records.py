"""The records, in the disks themselves, of what has changed since a backup; and dropping them where they would be wrong."""

from __future__ import annotations

from pathlib import Path

from workers.host.commands import run
from workers.plan.backups import BITMAP_PREFIX
from workers.plan.bitmaps import HEADER_BYTES, bitmaps_in, directory_in
from workers.plan.disks import QEMU_IMG

_SECONDS = 60.0


def forget_changes(path: Path, *, uid: int, gid: int, only_unsound: bool = False) -> None:
    """Drop the records of a growing disk that nobody has open, so that the next backup is a full one. Raises CommandError.

    All of them before the disk becomes what it was at another time; qemu refuses that otherwise. `only_unsound`: those
    that a qemu which was killed has left open; with one of these a disk cannot be made larger.
    """
    for name, is_sound in records_in(path).items():
        if name.startswith(BITMAP_PREFIX) and not (only_unsound and is_sound):
            argv = (QEMU_IMG, "bitmap", "--remove", "-f", "qcow2", str(path), name)
            run(argv, seconds=_SECONDS, user=uid, group=gid)


def records_in(path: Path) -> dict[str, bool]:
    """The records in a disk's file by name, and whether each is sound; empty for a fixed disk. Raises OSError."""
    with path.open("rb") as file:
        directory = directory_in(file.read(HEADER_BYTES))
        if directory is None:
            return {}
        file.seek(directory.offset)
        return bitmaps_in(file.read(directory.size))
