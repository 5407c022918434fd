"""Making the disks of a machine: empty, or beginning as something that is there already."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from workers.contract.disks import BaseOrigin, CopyOrigin, DiskKind, DiskSpec
from workers.contract.errors import ErrorCode, OffshootError
from workers.effects.importing import from_image
from workers.effects.work import Work
from workers.host import bases, disks, processes, remembered
from workers.host.commands import run
from workers.host.copying import Account, copy_disk
from workers.host.locks import LockBusy, locked_within
from workers.host.made import MadeDisk, Spot, base_wanted, made_disks, note_disk
from workers.plan.disks import overlay_argv

Origin = Callable[[Work, DiskSpec, Path], None]
"""Makes the file at the given path, of the disk's kind and at least of its size, as what the disk's origin says."""

_SOURCE_BUSY_SECONDS = 120.0


class DiskLost(OffshootError):
    """A disk that was made is not where it was; nothing is put in its place."""

    code = ErrorCode.DISK_LOST


class OriginFailed(OffshootError):
    """What the disk shall begin as is not there, or is not to be had now."""

    code = ErrorCode.ORIGIN_FAILED


class NotOff(OffshootError):
    """The machine whose disk is needed runs."""

    code = ErrorCode.NOT_OFF


class DiskShrinks(OffshootError):
    """The disk is wanted smaller than what it begins as."""

    code = ErrorCode.DISK_SHRINKS


def make_disks(work: Work) -> None:
    """Every disk has its file; one that is there stays as it is. Raises DiskLost for one that was made and is gone."""
    made = made_disks(work.folder)
    for disk in work.spec.disks:
        path = work.host.disk_file(work.spec.machine_id, disk)
        known = made.get(disk.id)
        if known is not None:
            lies = work.host.disk_at(work.spec.machine_id, disk.id, known.spot)
            if not lies.exists():
                raise DiskLost(f"{lies} is not there")
            continue
        make_folder(path.parent, gid=work.host.config.gid)
        fill = partial(ORIGINS[disk.origin.kind], work, disk) if disk.origin else None
        disks.make_disk(
            disk, path, uid=work.host.config.uid, gid=work.host.config.gid, progress=work.tell, fill=fill
        )
        note_disk(work.folder, disk.id, MadeDisk(Spot.wanted(disk), base=base_wanted(disk)))


def make_folder(folder: Path, *, gid: int) -> None:
    """A machine's folder, here or in a pool: root's, entered by qemu's account."""
    if not folder.exists():
        folder.mkdir(mode=0o710)
    shutil.chown(folder, 0, gid)
    folder.chmod(0o710)


def from_base(work: Work, disk: DiskSpec, draft: Path) -> None:
    """A growing disk above a base, whatever its size in no time; a fixed one is a copy of it."""
    if not isinstance(disk.origin, BaseOrigin):
        raise TypeError("not made from a base")
    base = bases.base_of(work.host.config, disk.origin.base_id)
    if disk.size_bytes < base.size_bytes:
        raise DiskShrinks(f"{disk.size_bytes} bytes wanted, the base has {base.size_bytes}")
    if disk.kind is DiskKind.GROWING:
        run(overlay_argv(draft, disk.size_bytes, base=base.path, base_kind=base.kind), seconds=30)
    else:
        copy(work, base.path, base.kind, disk, draft)
    config = work.host.config
    remembered.take_from_base(work.folder, base.path, base.id, uid=config.uid, gid=config.gid)


def from_copy(work: Work, disk: DiskSpec, draft: Path) -> None:
    """A whole copy of another machine's disk. That machine stays off for as long: its lock is held."""
    origin = disk.origin
    if not isinstance(origin, CopyOrigin):
        raise TypeError("not made as a copy")
    folder = work.host.folder(origin.machine_id)
    if not folder.root.exists():
        raise OriginFailed(f"machine {origin.machine_id} is not on {work.host.config.name}")
    try:
        with locked_within(folder.apply_lock, seconds=_SOURCE_BUSY_SECONDS, between=work.end_early):
            if processes.runs(folder):
                raise NotOff(f"machine {origin.machine_id} runs")
            known = made_disks(folder).get(origin.disk_id)
            if known is None:
                raise OriginFailed(f"machine {origin.machine_id} has no disk {origin.disk_id}")
            source = work.host.disk_at(origin.machine_id, origin.disk_id, known.spot)
            if not source.exists():
                raise DiskLost(f"{source} is not there")
            copy(work, source, known.spot.kind, disk, draft)
            config = work.host.config
            remembered.take_from_machine(work.folder, folder, uid=config.uid, gid=config.gid)
    except LockBusy as exc:
        raise OriginFailed(
            f"machine {origin.machine_id} has been busy for {_SOURCE_BUSY_SECONDS:.0f} s"
        ) from exc


def copy(work: Work, source: Path, kind: DiskKind, disk: DiskSpec, draft: Path) -> None:
    """All that `source` shows, told in per cent, ended early by a newer wish."""
    config = work.host.config
    copy_disk(
        source,
        kind,
        disk,
        draft,
        account=Account(config.uid, config.gid),
        folders=(*bases.base_folders(config), config.state.images),
        tell=work.tell,
        end_early=work.end_early,
    )


ORIGINS: dict[str, Origin] = {"base": from_base, "copy": from_copy, "image": from_image}
"""By the kind of origin (workers/contract/disks.py)."""
