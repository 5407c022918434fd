"""Disk images of the library on this host: fetched, checked and converted once, then shared by all disks that begin as one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

from workers.config import HostConfig
from workers.contract.disks import DiscSpec
from workers.contract.errors import ErrorCode, OffshootError
from workers.host import imagecheck, library
from workers.host.bases import base_folders
from workers.host.locks import LockBusy, locked_within
from workers.killpoints import reached
from workers.plan.imageformats import qcow2
from workers.plan.imageformats.reading import ImageRefused

_OTHERS_TAKE_AT_MOST_SECONDS = 6 * 3600.0


def flat(image_id: UUID, folder: Path) -> Path:
    """The flat qcow2 image on which disks stand. It has its name only when it is whole."""
    return folder / f"{image_id}.base.qcow2"


def virtual_bytes(path: Path) -> int:
    """The size of the disk in a flat image."""
    with imagecheck.opened(path) as file:
        return qcow2.read(file).virtual_bytes


def make_flat(
    image: DiscSpec, config: HostConfig, *, tell: Callable[[int], None], between: Callable[[], None]
) -> Path:
    """Fetch the image, check it here too, and convert it; does nothing where that was done.

    `tell` hears per cent; `between` is called often and may raise, then nothing half-made is left but what was fetched,
    which the next one goes on from. Raises LibraryError, ImageRefused, or OffshootError with DISK_FULL.
    """
    folder = config.state.images
    path = flat(image.image_id, folder)
    try:
        lock = folder / f".{image.image_id}.base.lock"
        with locked_within(lock, seconds=_OTHERS_TAKE_AT_MOST_SECONDS, between=between):
            if not path.exists():
                _make(image, config, path, tell, between)
            # What was fetched has done its work: it would take the same room once more.
            library.cached(image.image_id, folder).unlink(missing_ok=True)
    except LockBusy as exc:
        raise OffshootError(
            "another machine has been preparing it for hours", code=ErrorCode.ORIGIN_FAILED
        ) from exc
    return path


def _make(
    image: DiscSpec,
    config: HostConfig,
    path: Path,
    tell: Callable[[int], None],
    between: Callable[[], None],
) -> None:
    def fetched(percent: int) -> None:
        between()
        tell(percent // 2)

    original = fetch(image, config, progress=fetched)
    reached("image fetched")
    draft = path.with_suffix(".part")
    draft.unlink(missing_ok=True)
    imagecheck.convert(original, draft, tell=lambda percent: tell(50 + percent // 2), between=between)
    reached("image converted")
    draft.rename(path)
    reached("image in place")


def fetch(image: DiscSpec, config: HostConfig, *, progress: Callable[[int], None]) -> Path:
    """This host's copy of the file as it is in the library. Raises LibraryError."""
    library.fetch_disc(
        image,
        folder=config.state.images,
        portal_url=config.portal_url,
        fleet_key=config.fleet_key,
        progress=progress,
    )
    return library.cached(image.image_id, config.state.images)


def forget_image(config: HostConfig, image_id: UUID) -> bool:
    """Drop this host's copies of an image; False where a disk still stands on the flat one, which then stays."""
    folder = config.state.images
    library.forget_image(image_id, folder)
    path = flat(image_id, folder)
    path.with_suffix(".part").unlink(missing_ok=True)
    if path.exists() and _is_stood_on(config, path):
        return False
    path.unlink(missing_ok=True)
    (folder / f".{image_id}.base.lock").unlink(missing_ok=True)
    return True


def _is_stood_on(config: HostConfig, path: Path) -> bool:
    """A disk, a snapshot or a base of this host names it. In doubt it is."""
    for each in _growing_files(config):
        try:
            with imagecheck.opened(each) as file:
                name = qcow2.backing_name(file)
        except (OSError, ImageRefused):
            return True
        if name is not None and Path(name).name == path.name:
            return True
    return any(not (place / "offshoot").is_dir() for place in config.pools.values())


def _growing_files(config: HostConfig) -> Iterator[Path]:
    places = [config.state.machines, *base_folders(config)]
    places += [place / "offshoot" for place in config.pools.values()]
    for place in places:
        for folder, _folders, names in os.walk(place):
            yield from (Path(folder) / name for name in names if ".qcow2" in name)
