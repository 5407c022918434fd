"""Freezing disks: what is in them becomes a base on which others can stand, and each goes on in an empty file above it.

All of it is renames and small new files, so it takes no time however large the disks are. Before the first rename it is
written down what is going to happen: what a worker that was killed has begun is undone before anything else is done.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import structlog

from workers.contract.acts import FreezeDisks, FrozenDisk
from workers.contract.disks import DiskKind
from workers.contract.spec import Power
from workers.effects.making import DiskLost, NotOff
from workers.effects.work import Work
from workers.host import bases, processes, remembered
from workers.host.commands import run
from workers.host.disks import disk_errors, drafted
from workers.host.files import read_json, write_json
from workers.host.made import MadeDisk, Spot, made_disks, note_disk
from workers.killpoints import reached
from workers.plan.disks import overlay_argv
from workers.this_host import PlaceMissing

log = structlog.get_logger()


@dataclass(frozen=True)
class _Freezing:
    """One disk on its way: what it was, the base that it becomes, and its size in bytes."""

    disk_id: UUID
    base_id: UUID
    was: MadeDisk
    size_bytes: int


def freeze_disks(work: Work) -> None:
    """Make bases of the machine's disks; all of them or none. Raises NotOff, DiskLost, DiskError."""
    act = work.act
    if not isinstance(act, FreezeDisks):
        raise TypeError("no disks to freeze")
    if processes.runs(work.folder):
        raise NotOff("the machine runs")
    on_the_way = _begin(work, act.disks)
    with disk_errors():
        try:
            for each in on_the_way:
                _freeze(work, each)
        except Exception:
            _undo(work, on_the_way)
            raise
    work.folder.freezing_file.unlink(missing_ok=True)


def settle_unfinished(work: Work) -> None:
    """Undo a freezing that was cut off. Call it under the apply lock, before anything is looked at."""
    if not work.folder.freezing_file.exists():
        return
    try:
        _undo(work, _begun(work))
    except PlaceMissing:
        if work.spec.power is not Power.GONE:
            raise
        log.warning("a half-made base stays", machine=str(work.spec.machine_id))


def _begin(work: Work, disks: tuple[FrozenDisk, ...]) -> list[_Freezing]:
    made = made_disks(work.folder)
    sizes = {disk.id: disk.size_bytes for disk in work.spec.disks}
    on_the_way = []
    for each in disks:
        known = made.get(each.disk_id)
        if known is None or not work.host.disk_at(work.spec.machine_id, each.disk_id, known.spot).exists():
            raise DiskLost(f"disk {each.disk_id} is not there")
        if known.base != each.base_id:  # else it was frozen already, and only the word of it was lost
            on_the_way.append(_Freezing(each.disk_id, each.base_id, known, sizes[each.disk_id]))
    note = [
        {
            "disk": str(each.disk_id),
            "base": str(each.base_id),
            "kind": each.was.spot.kind.value,
            "pool": each.was.spot.pool,
            "stood_on": str(each.was.base) if each.was.base else None,
            "size_bytes": each.size_bytes,
        }
        for each in on_the_way
    ]
    write_json(work.folder.freezing_file, {"disks": note})
    return on_the_way


def _begun(work: Work) -> list[_Freezing]:
    """What was written down before; empty where nothing was."""
    raw = read_json(work.folder.freezing_file)
    return [
        _Freezing(
            UUID(each["disk"]),
            UUID(each["base"]),
            MadeDisk(
                Spot(DiskKind(each["kind"]), each["pool"]),
                UUID(each["stood_on"]) if each["stood_on"] else None,
            ),
            int(each["size_bytes"]),
        )
        for each in (raw or {}).get("disks", ())
    ]


def _freeze(work: Work, each: _Freezing) -> None:
    config = work.host.config
    old, base, new = _files(work, each)
    base.parent.mkdir(mode=0o711, exist_ok=True)
    bases.note_base(base.parent, each.base_id, size_bytes=each.size_bytes, stands_on=each.was.base)
    reached("base noted")
    if not base.exists():
        old.rename(base)
    reached("disk frozen")
    os.chown(base, 0, config.gid)
    base.chmod(0o440)
    remembered.keep_with_base(work.folder, base, each.base_id, gid=config.gid)
    if not new.exists():
        draft = new.with_suffix(new.suffix + ".part")
        with drafted(draft):
            run(overlay_argv(draft, each.size_bytes, base=base, base_kind=each.was.spot.kind), seconds=30)
            os.chown(draft, config.uid, config.gid)
            draft.chmod(0o600)
            draft.rename(new)
    reached("disk goes on")
    note_disk(
        work.folder, each.disk_id, MadeDisk(Spot(DiskKind.GROWING, each.was.spot.pool), base=each.base_id)
    )


def _undo(work: Work, on_the_way: list[_Freezing]) -> None:
    """Every disk is again what it was. Nothing was written above a base: the machine was off all the time."""
    config = work.host.config
    for each in on_the_way:
        old, base, new = _files(work, each)
        if base.exists():
            os.chown(base, config.uid, config.gid)
            base.chmod(0o600)
            base.rename(old)  # over the empty one above it, where that has the same name
        if new != old:
            new.unlink(missing_ok=True)
        new.with_suffix(new.suffix + ".part").unlink(missing_ok=True)
        note_disk(work.folder, each.disk_id, each.was)
        bases.remove_base(config, each.base_id)
    work.folder.freezing_file.unlink(missing_ok=True)


def _files(work: Work, each: _Freezing) -> tuple[Path, Path, Path]:
    """The disk as it was, the base that it becomes, and the disk above that."""
    spot = each.was.spot
    growing = Spot(DiskKind.GROWING, spot.pool)
    return (
        work.host.disk_at(work.spec.machine_id, each.disk_id, spot),
        bases.base_file(work.host.base_folder(spot.pool), each.base_id, spot.kind),
        work.host.disk_at(work.spec.machine_id, each.disk_id, growing),
    )
