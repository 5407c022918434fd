"""Disk images in the library: recognised, looked at by a host before anybody can use them, and what machines begin as."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.utils import timezone

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.fleet.models import Host
from portal.images import checking, services
from portal.images.iso9660 import NotAnIso
from portal.images.models import Image, ImageKind, ImageState
from portal.images.recognise import NotAnImage, recognise
from portal.machines import reports
from portal.machines.models import Disk
from portal.machines.services import machine_create
from portal.machines.specs import disk_spec
from portal.refusal import Refused
from tests.lab.images import disk_image, ova, raw_disk
from tests.web.people import host_heard, later, signed_in, silence, wish
from workers.contract.disks import ImageOrigin
from workers.contract.errors import ErrorCode
from workers.contract.jobs import CheckImage, Facts, ImageFacts
from workers.contract.messages import DoJob, ErrorReport, OperationState, Progress
from workers.contract.spec import GIB
from workers.contract.version import from_wire


@pytest.fixture(autouse=True)
def folders(settings: LazySettings, tmp_path: Path) -> None:
    settings.LIBRARY_DIR = tmp_path / "library"
    settings.UPLOAD_DIR = tmp_path / "uploads"


@pytest.fixture
def image(db: None, tmp_path: Path, ann: User) -> Image:
    return services.image_add_file(path=disk_image(tmp_path, "qcow2"), added_by=ann)


def answered(
    check: Operation, facts: Facts | None = None, error: ErrorCode | None = None, detail: str = ""
) -> None:
    assert reports.progress_take(
        Progress(
            operation_id=check.pk,
            machine_id=None,
            generation=0,
            sequence=later(),
            state=OperationState.FAILED if error else OperationState.DONE,
            error=ErrorReport(code=error, detail=detail) if error else None,
            facts=facts,
        )
    )


def ready(image: Image, size: int = 3 * GIB) -> Image:
    answered(Operation.objects.get(about=image.pk), ImageFacts(format="qcow2", virtual_bytes=size))
    image.refresh_from_db()
    return image


@pytest.mark.parametrize("form", ["qcow2", "vmdk", "vdi", "vhdx", "vpc"])
def test_the_image_of_a_disk_is_told_from_a_disc(tmp_path: Path, form: str) -> None:
    path = disk_image(tmp_path, form)
    ending = ".vhd" if form == "vpc" else f".{form}"
    for name in (f"debian{ending}", "debian.img", "debian"):
        with path.open("rb") as file:
            assert recognise(file, size=path.stat().st_size, name=name).kind is ImageKind.DISK
    for name in ("debian.raw", "debian.ova", "debian.iso"):
        with path.open("rb") as file, pytest.raises((NotAnImage, NotAnIso)):
            recognise(file, size=path.stat().st_size, name=name)


def test_raw_disks_and_archives_of_machines_are_known_and_what_is_neither_is_named(tmp_path: Path) -> None:
    for path in (raw_disk(tmp_path / "a.raw"), raw_disk(tmp_path / "a.img"), ova(tmp_path)):
        with path.open("rb") as file:
            assert recognise(file, size=path.stat().st_size, name=path.name).kind is ImageKind.DISK
    for content, name, words in (
        (b"\x1f\x8b" + bytes(600), "disk.raw", "a gzip archive"),
        (b"<!DOCTYPE html>" + bytes(600), "disk.img", "a web page"),
        (bytes(600), "disk.qcow2", "called .qcow2"),
        (
            b"QFI\xfb" + bytes(0x7FFD) + b"CD001",
            "disk.iso",
            "two things at once: a qcow2 disk image and a disc image",
        ),
        (b"hello" * 200, "notes.txt", "something else"),
    ):
        with pytest.raises((NotAnImage, NotAnIso), match=words):
            recognise(io.BytesIO(content), size=len(content), name=name)


def test_a_disk_image_waits_for_a_host_and_is_asked_for_again_where_that_dies(image: Image) -> None:
    assert (image.kind, image.state, image.name) == (ImageKind.DISK, ImageState.CHECKING, "disk")
    assert not Operation.objects.exists()
    assert checking.go_on() == 0
    host_heard("rack-1")
    assert checking.go_on() == 1
    first = Operation.objects.get()
    job = from_wire(DoJob, first.message).job
    assert isinstance(job, CheckImage)
    assert (first.kind, first.about, job.image.sha256) == (Kind.CHECK_IMAGE, image.pk, image.sha256)
    assert checking.go_on() == 0
    silence("rack-1")
    assert checking.go_on() == 0
    host_heard("rack-2")
    assert checking.go_on() == 1
    first.refresh_from_db()
    assert first.state == OperationState.SUPERSEDED
    second = Operation.objects.exclude(pk=first.pk).get()
    assert second.host == Host.objects.get(name="rack-2")
    answered(second, error=ErrorCode.DISK_FULL)  # it could not look: that says nothing of the image
    image.refresh_from_db()
    assert image.state == ImageState.CHECKING
    assert checking.go_on() == 0
    Operation.objects.filter(pk=second.pk).update(finished_at=timezone.now() - timedelta(minutes=2))
    assert checking.go_on() == 1


def test_only_what_a_host_found_sound_is_offered(rack: Host, ann: User, image: Image) -> None:
    browser = signed_in(ann)
    assert str(image.pk) not in browser.get("/machines/new/").content.decode()
    assert "A host looks at it" in browser.get("/discs/").content.decode()
    ready(image)
    assert (image.state, image.format, image.virtual_bytes) == (ImageState.READY, "qcow2", 3 * GIB)
    page = browser.get("/machines/new/").content.decode()
    assert page.count(str(image.pk)) == 1  # offered as a disk, and never for the drive
    assert "at least 3 GB" in page


def test_a_refused_image_says_what_was_found_and_can_only_be_deleted(
    rack: Host, ann: User, image: Image
) -> None:
    words = "It stands on another file, its backing file “/etc/shadow”, and is nothing without it."
    answered(Operation.objects.get(about=image.pk), error=ErrorCode.IMAGE_REFUSED, detail=words)
    image.refresh_from_db()
    assert image.state == ImageState.REFUSED
    assert words in signed_in(ann).get("/discs/").content.decode()
    with pytest.raises(Refused):
        machine_create(owner=ann, requested_by=ann, wish=wish(image_disk=image))
    assert "was deleted" in signed_in(ann).post(f"/discs/{image.pk}/delete/", follow=True).content.decode()


def test_a_machine_begins_as_the_image_and_keeps_it_in_the_library(
    rack: Host, ann: User, ben: User, image: Image
) -> None:
    ready(image)
    network = str(wish().network.pk)
    fields = {"name": "web", "size": "small", "disk_gib": "2", "disk_kind": "growing", "network": network}
    browser = signed_in(ann)
    answer = browser.post("/machines/new/", fields | {"image_disk": str(image.pk)})
    assert answer.status_code == 422
    assert "needs a disk of at least 3 GB" in answer.content.decode()
    assert (
        browser.post("/machines/new/", fields | {"image_disk": str(image.pk), "disk_gib": "3"}).status_code
        == 302
    )
    disk = Disk.objects.select_related("image", "machine").get()
    assert disk.machine.boot_from == "disk"
    origin = disk_spec(disk).origin
    assert isinstance(origin, ImageOrigin)
    assert origin.image.image_id == image.pk
    said = signed_in(ann).post(f"/discs/{image.pk}/delete/", follow=True).content.decode()
    assert "stand on it: ‘web’. Nothing was deleted" in said
    Image.objects.filter(pk=image.pk).update(added_by=ben)
    said = signed_in(ben).post(f"/discs/{image.pk}/delete/", follow=True).content.decode()
    assert "1 of somebody else" in said
    assert "‘web’" not in said


def test_name_system_and_version_are_changed_by_who_added_it(
    rack: Host, ann: User, ben: User, image: Image
) -> None:
    address = f"/discs/{image.pk}/edit/"
    fields = {"name": "Debian", "system": "Debian", "version": "12", "is_cloud": "on"}
    assert signed_in(ben).post(address, fields).status_code == 403
    assert signed_in(ann).post(address, fields | {"name": ""}).status_code == 422
    assert signed_in(ann).post(address, fields).status_code == 302
    image.refresh_from_db()
    assert (image.name, image.system, image.version, image.is_cloud) == ("Debian", "Debian", "12", True)
    assert image.state == ImageState.CHECKING
    Image.objects.create(name="Other", size_bytes=1, sha256="ab" * 32)
    answer = signed_in(ann).post(address, fields | {"name": "Other"})
    assert "an image of this name already" in answer.content.decode()
