"""A disk image of the library becomes a machine's disk: fetched, checked, converted once a host, booted by a real guest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.guest.build import guest_disc
from tests.lab import images, obstacles, wishes
from tests.lab.images import MIB
from tests.lab.standing import Standing, standing_host
from workers.config import HostConfig
from workers.contract.disks import DiscSpec, DiskKind, DiskSpec, ImageOrigin
from workers.contract.errors import ErrorCode
from workers.contract.jobs import CheckImage, ImageFacts
from workers.contract.messages import DoJob, OperationState, Progress, Step
from workers.contract.spec import Power, StopMode
from workers.host import imagebases
from workers.host.locks import locked
from workers.killpoints import IMAGE_KILL_POINTS


@pytest.fixture(scope="module")
def place() -> Iterator[Standing]:
    with standing_host() as standing:
        yield standing


def image_of(path: Path) -> tuple[DiscSpec, bytes]:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return DiscSpec(image_id=uuid4(), size_bytes=len(content), sha256=digest), content


def checked(place: Standing, image: DiscSpec) -> Progress:
    job = DoJob(operation_id=uuid4(), job=CheckImage(image=image))
    place.ear.ask_job(place.host.name, job)
    return place.ear.end_of(job.operation_id, seconds=120)


def disk_of(image: DiscSpec, size: int, kind: DiskKind = DiskKind.GROWING) -> DiskSpec:
    return DiskSpec(id=uuid4(), size_bytes=size, kind=kind, origin=ImageOrigin(image=image))


def steps_of(end: Progress) -> list[Step]:
    return [each.step for each in end.steps]


def test_a_machine_boots_from_an_imported_vmdk_and_keeps_what_it_stands_on(
    place: Standing, tmp_path: Path
) -> None:
    raw = images.bootable_disk(tmp_path, guest_disc("imported"))
    images.qemu_img(
        "convert",
        "-f",
        "raw",
        "-O",
        "vmdk",
        "-o",
        "subformat=streamOptimized",
        str(raw),
        str(tmp_path / "box.vmdk"),
    )
    image, content = image_of(tmp_path / "box.vmdk")
    flat = imagebases.flat(image.image_id, place.host.state.images)
    with obstacles.library_that_sends(place.folder / "portal.sock", content):
        end = checked(place, image)
        assert end.facts == ImageFacts(format="vmdk", virtual_bytes=raw.stat().st_size)
        machine = wishes.spec(disks=(disk_of(image, 64 * MIB),), nics=())
        made = place.apply(machine, seconds=180)
    assert made.state is OperationState.DONE, made
    assert steps_of(made)[:2] == [Step.FETCH_IMAGE, Step.MAKE_DISKS]
    assert place.host.heard(machine.machine_id, "done", seconds=120) == "imported"
    assert flat.stat().st_uid == 0
    assert list(place.host.state.images.glob(f"{image.image_id}*")) == [flat]

    config = _config(place)
    assert not imagebases.forget_image(config, image.image_id)
    assert flat.exists()

    # The library is away now: a second machine needs it no more, and its fixed disk is a copy that stands alone.
    fixed = disk_of(image, 64 * MIB, DiskKind.FIXED)
    second = wishes.spec(disks=(fixed,), nics=(), power=Power.OFF, run=0)
    assert steps_of(place.apply(second, seconds=120)) == [Step.MAKE_DISKS]
    copy = place.host.disk_file(second.machine_id, fixed)
    with copy.open("rb") as file:
        assert file.read(raw.stat().st_size) == raw.read_bytes()
    assert copy.stat().st_size == 64 * MIB
    place.delete(second)
    place.delete(machine)
    assert imagebases.forget_image(config, image.image_id)
    assert not list(place.host.state.images.glob(f"*{image.image_id}*"))


def test_what_is_refused_is_said_by_what_was_found_and_nothing_is_kept(
    place: Standing, tmp_path: Path
) -> None:
    images.raw_disk(tmp_path / "below.raw")
    images.qemu_img(
        "create", "-f", "qcow2", "-b", str(tmp_path / "below.raw"), "-F", "raw", str(tmp_path / "a.qcow2")
    )
    image, content = image_of(tmp_path / "a.qcow2")
    with obstacles.library_that_sends(place.folder / "portal.sock", content):
        end = checked(place, image)
        assert end.error is not None
        assert end.error.code is ErrorCode.IMAGE_REFUSED
        assert "backing file “" in end.error.detail
        assert not list(place.host.state.images.glob(f"{image.image_id}*"))
        # A portal that was taken over could ask for it all the same: the host looks again.
        machine = wishes.spec(disks=(disk_of(image, 64 * MIB),), nics=())
        made = place.apply(machine)
    assert made.error is not None
    assert made.error.code is ErrorCode.IMAGE_REFUSED
    assert not list(place.host.state.images.glob(f"{image.image_id}.base*"))
    place.delete(machine)


def test_a_disk_smaller_than_its_image_is_refused_and_a_cancelled_one_leaves_nothing(
    place: Standing, tmp_path: Path
) -> None:
    image, content = image_of(images.disk_image(tmp_path, "qcow2"))
    with obstacles.library_that_sends(place.folder / "portal.sock", content):
        small = wishes.spec(disks=(disk_of(image, 4 * MIB),), nics=())
        end = place.apply(small)
        assert end.error is not None
        assert end.error.code is ErrorCode.DISK_SHRINKS
        place.delete(small)
    # While another machine prepares the image this one waits for it, and a newer wish ends that at once.
    other, _ = image_of(images.disk_image(tmp_path, "qcow2", size=9 * MIB))
    lock = place.host.state.images / f".{other.image_id}.base.lock"
    with locked(lock):
        waiting = wishes.spec(disks=(disk_of(other, 16 * MIB),), nics=())
        begun = wishes.wish(waiting)
        place.ear.ask(place.host.name, begun)
        gone = wishes.later(waiting, power=Power.GONE, stop_mode=StopMode.FORCE)
        place.done(gone)
        assert place.ear.end_of(begun.operation_id).state is OperationState.SUPERSEDED
    assert not place.traces().get("unfinished files")


@pytest.mark.parametrize("point", IMAGE_KILL_POINTS)
def test_a_worker_that_is_killed_on_the_way_goes_on_and_leaves_nothing_half_made(
    place: Standing, tmp_path: Path, point: str
) -> None:
    image, content = image_of(images.disk_image(tmp_path, "vdi"))
    disk = disk_of(image, 16 * MIB)
    machine = wishes.spec(disks=(disk,), nics=(), power=Power.OFF, run=0)
    with obstacles.library_that_sends(place.folder / "portal.sock", content):
        place.host.stop()
        place.host.set(OFFSHOOT_DIE_AT=point)
        place.host.start()
        wish = wishes.wish(machine)
        place.ear.ask(place.host.name, wish)
        place.host.wait_for_death()
        place.host.set(OFFSHOOT_DIE_AT="")
        place.host.start()
        assert place.ear.end_of(wish.operation_id, seconds=120).state is OperationState.DONE
    flat = imagebases.flat(image.image_id, place.host.state.images)
    assert list(place.host.state.images.glob(f"{image.image_id}*")) == [flat]
    assert flat.stat().st_uid == 0
    assert place.host.disk_file(machine.machine_id, disk).exists()
    assert not place.traces().get("unfinished files")
    place.delete(machine)


def _config(place: Standing) -> HostConfig:
    from workers.config import host_config

    environ = place.host._environ
    return host_config(environ)
