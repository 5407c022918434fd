"""Making the disks of a machine: empty, or beginning as something that is there already."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from workers.contract.disks import DiskSpec
from workers.effects.work import Work
from workers.host import disks

Origin = Callable[[Work, DiskSpec, Path], None]
"""Makes the file at the given path, of the disk's kind and at least of its size, as what the disk's origin says."""

ORIGINS: dict[str, Origin] = {}
"""By the kind of origin (workers/contract/disks.py)."""


def make_disks(work: Work) -> None:
    """Every disk has its file; one that is there stays as it is."""
    for disk in work.spec.disks:
        path = work.host.disk_file(work.spec.machine_id, disk)
        fill = partial(ORIGINS[disk.origin.kind], work, disk) if disk.origin else None
        disks.make_disk(
            disk, path, uid=work.host.config.uid, gid=work.host.config.gid, progress=work.tell, fill=fill
        )
