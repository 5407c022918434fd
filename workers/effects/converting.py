"""Disks become what they are wanted to be, where they are wanted: growing or fixed, in another pool, on nothing.

The old file is the disk until the new one is whole and has taken its place in the record: a worker that is killed, a
newer wish and a copy that fails all leave the old one as it was.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from workers.contract.disks import DiskSpec
from workers.effects.making import DiskLost, copy, make_folder
from workers.effects.work import Work
from workers.host.disks import drafted
from workers.host.made import MadeDisk, Spot, base_wanted, made_disks, note_disk, note_stray
from workers.killpoints import reached
from workers.this_host import PlaceMissing

log = structlog.get_logger()


def convert_disks(work: Work) -> None:
    """Every disk that was made lies where it is wanted, of the kind that is wanted. The machine is off."""
    for disk in work.spec.disks:
        known = made_disks(work.folder).get(disk.id)
        if known is not None:
            _tidy(work, disk, known)
            if known.spot != Spot.wanted(disk) or (known.base is not None and base_wanted(disk) is None):
                _convert(work, disk, known)


def _convert(work: Work, disk: DiskSpec, known: MadeDisk) -> None:
    machine_id = work.spec.machine_id
    old = work.host.disk_at(machine_id, disk.id, known.spot)
    if not old.exists():
        raise DiskLost(f"{old} is not there")
    new = work.host.disk_file(machine_id, disk)
    make_folder(new.parent, gid=work.host.config.gid)
    note_stray(work.folder, disk.id, Spot.wanted(disk))
    draft = _draft(new)
    try:
        with drafted(draft):
            copy(work, old, known.spot.kind, disk, draft)
            reached("disk copied")
            draft.chmod(0o600)
            draft.rename(new)
    except BaseException:
        note_stray(work.folder, disk.id, None)
        raise
    reached("disk in its new place")
    # It may have been made from a base or an image; it stands on nothing now.
    note_disk(work.folder, disk.id, MadeDisk(Spot.wanted(disk), stray=known.spot))
    reached("new place noted")
    _tidy(work, disk, made_disks(work.folder)[disk.id])


def _tidy(work: Work, disk: DiskSpec, known: MadeDisk) -> None:
    """Remove what is not the disk: what a worker that was killed has left, or the file that another has replaced."""
    if known.stray is None:
        return
    try:
        stray = work.host.disk_at(work.spec.machine_id, disk.id, known.stray)
        _draft(stray).unlink(missing_ok=True)
        if known.stray != known.spot:
            stray.unlink(missing_ok=True)
            _remove_if_empty(work, stray.parent)
    except PlaceMissing:
        log.warning("a file that is no longer a disk stays", disk=str(disk.id), pool=known.stray.pool)
    note_stray(work.folder, disk.id, None)


def _draft(path: Path) -> Path:
    return path.with_suffix(path.suffix + ".part")


def _remove_if_empty(work: Work, folder: Path) -> None:
    """A machine's folder in a pool goes with its last disk there."""
    if folder != work.folder.root and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
