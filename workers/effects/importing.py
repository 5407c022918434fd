"""Disk images of the library: looked at when they come in, and made into the first content of disks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from workers.contract.disks import DiskKind, DiskSpec, ImageOrigin
from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.jobs import CheckImage, ImageFacts
from workers.effects.work import Work
from workers.host import imagebases, imagecheck
from workers.host.bases import base_folders
from workers.host.commands import run
from workers.host.copying import Account, copy_disk
from workers.host.made import made_disks
from workers.plan.disks import overlay_argv
from workers.plan.imageformats.reading import ImageRefused
from workers.this_host import Host


def check_image(host: Host, job: CheckImage, tell: Callable[[int], None]) -> ImageFacts:
    """Look at an image that came into the library. Raises ImageRefused with what was found, or LibraryError."""
    path = imagebases.fetch(job.image, host.config, progress=lambda percent: tell(percent * 9 // 10))
    try:
        with imagecheck.opened(path) as file:
            facts = imagecheck.check(file)
    except ImageRefused:
        path.unlink(missing_ok=True)
        raise
    return ImageFacts(format=facts.archive or facts.format.value, virtual_bytes=facts.virtual_bytes)


def fetch_image(work: Work) -> None:
    """The images that the machine's new disks begin as are on this host, checked and converted."""
    made = made_disks(work.folder)
    for disk in work.spec.disks:
        if isinstance(disk.origin, ImageOrigin) and disk.id not in made:
            _make_flat(work, disk.origin)


def from_image(work: Work, disk: DiskSpec, draft: Path) -> None:
    """A growing disk stands on the image, whatever its size in no time; a fixed one is a copy of it."""
    if not isinstance(disk.origin, ImageOrigin):
        raise TypeError("not made from an image")
    config = work.host.config
    image = _make_flat(work, disk.origin)
    least = imagebases.virtual_bytes(image)
    if disk.size_bytes < least:
        raise OffshootError(
            f"{disk.size_bytes} bytes wanted, the image has {least}", code=ErrorCode.DISK_SHRINKS
        )
    if disk.kind is DiskKind.GROWING:
        argv = overlay_argv(draft, disk.size_bytes, base=image, base_kind=DiskKind.GROWING)
        run(argv, seconds=30)
        return
    copy_disk(
        image,
        DiskKind.GROWING,
        disk,
        draft,
        account=Account(config.uid, config.gid),
        folders=(*base_folders(config), config.state.images),
        tell=work.tell,
        end_early=work.end_early,
    )


def _make_flat(work: Work, origin: ImageOrigin) -> Path:
    return imagebases.make_flat(origin.image, work.host.config, tell=work.tell, between=work.end_early)
