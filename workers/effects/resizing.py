"""Making disks larger, of a machine that is off or runs. They never get smaller."""

from __future__ import annotations

import errno
import os

from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.spec import DiskKind, DiskSpec
from workers.effects.work import Work
from workers.host import living, processes
from workers.host.commands import CommandError, run
from workers.host.disks import DiskError, reserve_more, virtual_size
from workers.host.made import Spot, made_disks
from workers.killpoints import reached
from workers.plan.disks import grow_argv
from workers.plan.qemu import disk_node

_RESIZE_SECONDS = 120


class DiskShrinks(OffshootError):
    """A disk is larger than it is wanted."""

    code = ErrorCode.DISK_SHRINKS


def resize_disks(work: Work) -> None:
    """Every disk is as large as it is wanted. Raises DiskError (DISK_FULL too), and DiskShrinks before anything is done."""
    now = living.living(work.folder) if processes.runs(work.folder) else None
    plugged = {disk.id: disk for disk in now.spec.disks} if now else {}
    for disk in work.spec.disks:
        if disk.id in plugged and plugged[disk.id].size_bytes > disk.size_bytes:
            raise DiskShrinks(f"it has {plugged[disk.id].size_bytes} bytes, {disk.size_bytes} are wanted")
    for disk in work.spec.disks:
        if disk.id in plugged:
            _grow_plugged(work, plugged[disk.id], disk.size_bytes)
        else:
            _grow_file(work, disk)


def _grow_plugged(work: Work, disk: DiskSpec, size_bytes: int) -> None:
    """The guest sees the new size at once (a SATA disk's at its next start)."""
    if disk.size_bytes == size_bytes:
        return
    if disk.kind is DiskKind.FIXED:
        reserve_more(work.host.disk_file(work.spec.machine_id, disk), size_bytes, work.tell)
        reached("room reserved")
    resize = {"node-name": disk_node(disk), "size": size_bytes}
    work.host.monitors.execute(work.folder.qmp_socket, ("block_resize", resize))
    reached("disk resized")
    now = living.living(work.folder)
    if now is not None:
        grown = [
            each.model_copy(update={"size_bytes": size_bytes}) if each.id == disk.id else each
            for each in now.spec.disks
        ]
        living.note_living(work.folder, disks=tuple(grown))


def _grow_file(work: Work, disk: DiskSpec) -> None:
    made = made_disks(work.folder).get(disk.id)
    spot = made.spot if made else Spot.wanted(disk)  # one that is to be moved may still lie where it was
    path = work.host.disk_at(work.spec.machine_id, disk.id, spot)
    size = virtual_size(path)
    if size is None or size >= disk.size_bytes:
        return
    if spot.kind is DiskKind.FIXED:
        reserve_more(path, disk.size_bytes, work.tell)
        return
    try:
        run(grow_argv(path, disk.size_bytes), seconds=_RESIZE_SECONDS)
    except CommandError as exc:
        full = os.strerror(errno.ENOSPC) in exc.detail
        raise DiskError(exc.detail, code=ErrorCode.DISK_FULL if full else ErrorCode.DISK_FAILED) from exc
