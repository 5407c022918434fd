"""Taking a backup: the disks of one instant, whole or what has changed, into files that are there whole or not at all.

What has changed since a backup is recorded by qemu in the disk itself, under the backup's own name. A new record is
begun in the same instant in which the disks are read; the older one goes only when the new backup is safe. Whatever
fails in between, a record never says less than what has changed since the backup that it is named after.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from workers.contract.acts import TakeBackup
from workers.contract.disks import DiskKind, DiskSpec
from workers.contract.errors import ErrorCode
from workers.contract.jobs import BackupFacts
from workers.contract.spec import Firmware
from workers.effects.work import Work
from workers.host import agent, processes
from workers.host.backup_store import BackupDamaged, BackupFailed, Store, stored, sync_folder, write_manifest
from workers.host.blocks import PREFIX, Blocks, CopyError, copier
from workers.host.commands import CommandError, run
from workers.host.monitor import MonitorError
from workers.killpoints import reached
from workers.plan import qemu
from workers.plan.backups import (
    VARIABLES_SLOT,
    Manifest,
    bitmap_name,
    bitmaps_to_drop,
    can_stand_on,
    variables_id,
)
from workers.plan.blocks import disk_node
from workers.plan.disks import QEMU_IMG

_ROOM_TO_GO_ON_BYTES = 64 * 1024 * 1024
_COPYING_PERCENT = 85
log = structlog.get_logger()


@dataclass(frozen=True)
class _Copied:
    """One disk on its way: its node, its size and what will be read of it in bytes; `bitmap` says what changed.

    `keeps_record`: what changes from now on can be recorded in it.
    """

    id: UUID
    slot: int
    kind: DiskKind
    node: str
    size_bytes: int
    reads_bytes: int
    bitmap: str | None = None
    keeps_record: bool = False


def take_backup(work: Work) -> None:
    """Back the machine up, running or off. Raises BackupFailed, PlaceMissing."""
    act = work.act
    if not isinstance(act, TakeBackup):
        raise TypeError("no backup to take")
    store = work.host.backup_store(act.place, work.spec.machine_id)
    with _in_words(work, act.place), store.reading(work.end_early), _blocks_of(work) as blocks:
        manifest = store.manifest(act.backup_id) or _take(work, act, store, blocks)
        for node, bitmaps in _bitmaps(blocks, work.spec.disks).items():
            _drop(blocks, node, bitmaps_to_drop(list(bitmaps), act.place, act.backup_id))
    work.facts = BackupFacts(stored_bytes=manifest.stored_bytes, incremental=manifest.is_incremental)


@contextmanager
def _in_words(work: Work, place: str) -> Iterator[None]:
    """What the system, qemu or a program says, as an error of a backup."""
    try:
        yield
    except (OSError, CopyError, MonitorError, CommandError, BackupDamaged) as exc:
        work.host.backup_folder(place, work.spec.machine_id)  # says so where the place itself is gone
        full = os.strerror(errno.ENOSPC)
        is_full = getattr(exc, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or full in str(exc)
        code = ErrorCode.PLACE_FULL if is_full else ErrorCode.BACKUP_FAILED
        raise BackupFailed(str(exc), code=code) from exc


@contextmanager
def _blocks_of(work: Work) -> Iterator[Blocks]:
    """The machine's own block layer while it runs, else one with its disks; cleared of what a killed worker left."""
    if processes.runs(work.folder):
        blocks = Blocks(work.host.monitors, work.folder.qmp_socket)
        blocks.clear()
        yield blocks
        return
    nodes = [
        disk_node(_node(disk), work.host.disk_file(work.spec.machine_id, disk), disk.kind)
        for disk in work.spec.disks
    ]
    variables = work.folder.variables_file(work.spec.firmware)
    if work.spec.firmware is not Firmware.BIOS and variables.exists():
        nodes.append(disk_node(qemu.FIRMWARE_VARIABLES_NODE, variables, DiskKind.GROWING))
    with copier(work.host.monitors, work.host.config, nodes) as blocks:
        yield blocks


def _take(work: Work, act: TakeBackup, store: Store, blocks: Blocks) -> Manifest:
    ran = _status(blocks) == "running"
    store.folder.mkdir(mode=0o700, exist_ok=True)
    store.clear_unfinished()
    before = _sound(store, act.previous)
    for node, bitmaps in _bitmaps(blocks, work.spec.disks).items():
        _drop(blocks, node, bitmaps_to_drop(list(bitmaps), act.place, before.backup_id if before else None))
    copied = _what_to_copy(work, act, blocks, before)
    part = store.part(act.backup_id)
    try:
        _require_room(part.parent, copied)
        part.mkdir(mode=0o700)
        targets = [_target(blocks, part, each) for each in copied]
        reached("backup begins")
        still = _begin(work, act, blocks, copied, targets)
        jobs = [_job(each) for each in copied]
        blocks.follow(
            jobs, tell=lambda percent: work.tell(percent * _COPYING_PERCENT // 100), between=work.end_early
        )
        for target in targets:
            blocks.do("blockdev-del", node_name=target)
        reached("backup copied")
        manifest = _finish(work, act, store, copied, before, still=still)
    except BaseException:
        _undo(work, act, blocks, part, ran=ran)
        raise
    return manifest


def _sound(store: Store, previous: UUID | None) -> Manifest | None:
    """The backup to stand on, if all that it needs is there; else this one is a full one."""
    if previous is None:
        return None
    try:
        manifest = store.manifest(previous)
        for disk in manifest.files if manifest else ():
            store.chain(previous, disk.id)
    except BackupDamaged as exc:
        log.warning("backup not built upon", backup=str(previous), detail=exc.detail)
        return None
    return manifest


def _what_to_copy(work: Work, act: TakeBackup, blocks: Blocks, before: Manifest | None) -> list[_Copied]:
    nodes = blocks.named()
    copied = []
    for disk in work.spec.disks:
        node = nodes.get(_node(disk))
        if node is None:
            raise BackupFailed(f"the disk in slot {disk.slot} is not plugged in yet")
        size = int(node["image"]["virtual-size"])
        bitmap = None
        if before is not None:
            name = bitmap_name(act.place, before.backup_id)
            found = {each["name"]: each for each in node.get("dirty-bitmaps", ())}.get(name)
            if can_stand_on(disk.id, size, found, before):
                bitmap = found
        reads = int(bitmap["count"]) if bitmap else min(size, _allocated(node["image"]))
        record = str(bitmap["name"]) if bitmap else None
        keeps_record = disk.kind is DiskKind.GROWING  # what has no header keeps none
        copied.append(
            _Copied(
                disk.id, disk.slot, disk.kind, _node(disk), size, reads, record, keeps_record=keeps_record
            )
        )
    variables = nodes.get(qemu.FIRMWARE_VARIABLES_NODE)
    if variables is not None:
        image = variables["image"]
        size = int(image["virtual-size"])
        copied.append(
            _Copied(
                variables_id(work.spec.machine_id),
                VARIABLES_SLOT,
                DiskKind.GROWING,
                qemu.FIRMWARE_VARIABLES_NODE,
                size,
                min(size, _allocated(image)),
            )
        )
    return copied


def _require_room(folder: Path, copied: list[_Copied]) -> None:
    room = os.statvfs(folder)
    free, wanted = (
        room.f_bavail * room.f_frsize,
        sum(each.reads_bytes for each in copied) + _ROOM_TO_GO_ON_BYTES,
    )
    if free < wanted:
        mib = 1024 * 1024
        raise BackupFailed(
            f"{wanted // mib} MiB wanted, {free // mib} MiB free in {folder}", code=ErrorCode.PLACE_FULL
        )


def _target(blocks: Blocks, part: Path, each: _Copied) -> str:
    """An empty file for the disk, opened by qemu. Its room is reserved, since a guest's write waits for the file's."""
    path = part / f"{each.id}.qcow2"
    run((QEMU_IMG, "create", "-q", "-f", "qcow2", str(path), str(each.size_bytes)), seconds=60)
    path.chmod(0o600)
    # Where the filesystem cannot reserve, the copying itself finds out.
    length = max(each.reads_bytes, 1)
    run(("fallocate", "--keep-size", "--length", str(length), str(path)), seconds=600, check=False)
    return blocks.open(f"to-{each.slot}", path, "qcow2", writable=True)


def _begin(work: Work, act: TakeBackup, blocks: Blocks, copied: list[_Copied], targets: list[str]) -> bool:
    """All disks begin in the same instant, each with its new record; True where nothing was half-written in it."""
    actions: list[dict[str, Any]] = []
    for each, target in zip(copied, targets, strict=True):
        if each.keeps_record:
            actions.append(
                {
                    "type": "block-dirty-bitmap-add",
                    "data": {
                        "node": each.node,
                        "name": bitmap_name(act.place, act.backup_id),
                        "persistent": True,
                    },
                }
            )
        backup = {"job-id": _job(each), "device": each.node, "target": target, "auto-dismiss": False}
        how = (
            {"sync": "bitmap", "bitmap": each.bitmap, "bitmap-mode": "never"}
            if each.bitmap
            else {"sync": "full"}
        )
        actions.append({"type": "blockdev-backup", "data": backup | how})
    if not processes.runs(work.folder):
        blocks.do("transaction", actions=actions)
        return True
    with agent.frozen(work.host.monitors, work.folder) as is_frozen:
        blocks.do("transaction", actions=actions)
    return is_frozen


def _finish(
    work: Work, act: TakeBackup, store: Store, copied: list[_Copied], before: Manifest | None, *, still: bool
) -> Manifest:
    """Sums, the manifest, and the name by which it is a backup; after the return it survives a power cut."""
    part = store.part(act.backup_id)
    total = sum((part / f"{each.id}.qcow2").stat().st_size for each in copied)
    tell = _telling(work, total)
    disks = []
    for each in copied:
        path = part / f"{each.id}.qcow2"
        disks.append(stored(path, each, each.size_bytes, incremental=each.bitmap is not None, heard=tell))
    stands_on = before.backup_id if before and any(each.incremental for each in disks) else None
    manifest = Manifest(
        backup_id=act.backup_id,
        machine_id=work.spec.machine_id,
        previous=stands_on,
        taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
        still=still,
        spec=work.spec,
        disks=tuple(disk for disk in disks if disk.slot != VARIABLES_SLOT),
        variables=next((disk for disk in disks if disk.slot == VARIABLES_SLOT), None),
    )
    # Written beside first: a folder that has its name has all of it.
    write_manifest(part, manifest)
    reached("backup written down")
    part.rename(store.home(act.backup_id))
    sync_folder(store.folder)
    reached("backup in its place")
    return manifest


def _telling(work: Work, total: int) -> Callable[[int], None]:
    done = 0

    def heard(size: int) -> None:
        nonlocal done
        done += size
        work.tell(_COPYING_PERCENT + (100 - _COPYING_PERCENT) * done // max(total, 1))
        work.end_early()

    return heard


def _undo(work: Work, act: TakeBackup, blocks: Blocks, part: Path, *, ran: bool) -> None:
    """Nothing of it is left, in the folder or in the machine; a machine that its own writes had stopped goes on."""
    try:
        blocks.clear()
        for node, bitmaps in _bitmaps(blocks, work.spec.disks).items():
            _drop(blocks, node, [name for name in bitmaps if name == bitmap_name(act.place, act.backup_id)])
        if ran and _status(blocks) == "io-error":
            blocks.do("cont")  # what it could not write waited for the backup only, and is written again
    except MonitorError as exc:
        log.warning("backup not cleared away", machine=str(work.spec.machine_id), detail=exc.detail)
    shutil.rmtree(part, ignore_errors=True)


def _bitmaps(blocks: Blocks, disks: tuple[DiskSpec, ...]) -> dict[str, dict[str, dict[str, Any]]]:
    """The records in each disk, by node and name."""
    nodes = blocks.named()
    return {
        name: {each["name"]: each for each in nodes[name].get("dirty-bitmaps", ())}
        for name in map(_node, disks)
        if name in nodes
    }


def _drop(blocks: Blocks, node: str, names: list[str]) -> None:
    for name in names:
        blocks.do("block-dirty-bitmap-remove", node=node, name=name)


def _status(blocks: Blocks) -> str:
    return str(blocks.do("query-status")["status"])


def _allocated(image: dict[str, Any]) -> int:
    """What a disk takes on the host, with what it stands on."""
    below = image.get("backing-image")
    return int(image.get("actual-size", image["virtual-size"])) + (_allocated(below) if below else 0)


def _node(disk: DiskSpec) -> str:
    """The disk's node in its machine's qemu; the same without the machine."""
    return qemu.disk_node(disk)


def _job(disk: _Copied) -> str:
    return f"{PREFIX}-{disk.slot}"
