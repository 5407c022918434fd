"""Exports as the site keeps them: received piece by piece from a host's own sender, downloaded, removed in time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone

from portal.accounts.models import User
from portal.exports import services
from portal.exports.models import Export
from portal.images import parts
from portal.machines.models import Machine
from portal.machines.reports import progress_take
from portal.machines.services import operation_cancel
from tests.web import people
from tests.web.people import signed_in, told
from tests.web.site import Site
from workers.contract.jobs import ExportFacts
from workers.contract.messages import Observed, OperationState
from workers.contract.tokens import Purpose, issue
from workers.host.sending import PIECE_BYTES, PortalsShelf, SendError


@pytest.fixture
def off(machine: Machine) -> Machine:
    """Ann's machine, made and off."""
    people.done(machine)
    Machine.objects.update(power="off")
    return people.done(machine, Observed.OFF)


@pytest.fixture(autouse=True)
def folder(settings: LazySettings, tmp_path: Path) -> Path:
    settings.EXPORT_DIR = tmp_path / "exports"
    return tmp_path / "exports"


class Stopped(Exception):
    """The worker has a newer wish, or was killed."""


def test_a_file_arrives_whole_over_an_interrupted_way(
    site: Site, off: Machine, ann: User, settings: LazySettings, tmp_path: Path
) -> None:
    settings.EXPORT_DIR = site.log.parent / "state" / "portal" / "exports"
    asked = services.export_begin(machine=off, kind="ova", by=ann)
    export = Export.objects.get()
    source = tmp_path / "source"
    source.write_bytes(os.urandom(2 * PIECE_BYTES + 12345))
    shelf = PortalsShelf(portal_url=site.origin, fleet_key=settings.FLEET_KEY, export_id=export.pk)
    with closing(shelf):
        assert shelf.room_bytes() > 0
        with pytest.raises(Stopped):
            shelf.send(source, tell=lambda _: None, between=_stop_at(2))
        export.refresh_from_db()
        assert export.received_bytes == PIECE_BYTES
        with export.path.open("ab") as file:
            file.write(b"half of a piece that was never answered")
        shelf.send(source, tell=lambda _: None, between=lambda: None)
        shelf.send(source, tell=lambda _: None, between=lambda: None)  # all of it is there: nothing is sent
        assert export.path.read_bytes() == source.read_bytes()
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    facts = ExportFacts(size_bytes=source.stat().st_size, sha256=digest)
    assert progress_take(told(asked, facts=facts))

    client = signed_in(ann)
    page = client.get(f"/machines/{off.pk}/copies/").content.decode()
    assert digest in page
    assert 'data-confirm="Remove “web.ova”? There is no undo.' in page
    cookies = {name: morsel.value for name, morsel in client.cookies.items()}
    address = f"{site.origin}/machines/{off.pk}/exports/{export.pk}/"
    part = httpx.get(address, cookies=cookies, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, source.read_bytes()[100:200])
    assert part.headers["Content-Disposition"] == 'attachment; filename="web.ova"'
    assert client.post(f"/machines/{off.pk}/exports/{export.pk}/remove/").status_code == 302
    assert not export.path.exists()
    with (
        closing(
            PortalsShelf(portal_url=site.origin, fleet_key=settings.FLEET_KEY, export_id=export.pk)
        ) as late,
        pytest.raises(SendError, match="404"),
    ):
        late.send(source, tell=lambda _: None, between=lambda: None)


def test_a_piece_that_is_not_what_was_sent_is_not_kept(
    off: Machine, ann: User, settings: LazySettings
) -> None:
    services.export_begin(machine=off, kind="ova", by=ann)
    export = Export.objects.get()
    headers = {
        "Authorization": f"Bearer {issue(key=settings.FLEET_KEY, purpose=Purpose.EXPORT, subject=str(export.pk))}",
        "Upload-Offset": "0",
        "Upload-Length": "10",
        "Piece-Sha256": hashlib.sha256(b"other bytes").hexdigest(),
    }
    address, kind = f"/exports/{export.pk}/file/", "application/octet-stream"
    assert Client().patch(address, b"0123456789", kind, headers=headers).status_code == 400
    right = headers | {"Piece-Sha256": hashlib.sha256(b"0123456789").hexdigest()}
    assert (
        Client().patch(address, b"0123456789", kind, headers=right | {"Upload-Offset": "3"}).status_code
        == 409
    )
    assert (
        Client().patch(address, b"0123456789", kind, headers=right | {"Upload-Length": "x"}).status_code
        == 400
    )
    assert (
        Client().patch(address, b"0123456789", kind, headers=right | {"Upload-Length": "9" * 15}).status_code
        == 507
    )
    image = issue(key=settings.FLEET_KEY, purpose=Purpose.IMAGE, subject=str(export.pk))
    assert (
        Client().patch(address, b"", kind, headers=right | {"Authorization": f"Bearer {image}"}).status_code
        == 401
    )
    export.refresh_from_db()
    assert export.received_bytes == 0
    assert Client().patch(address, b"0123456789", kind, headers=right).status_code == 204


def test_only_a_machine_that_is_off_is_exported_and_it_stays_off(running: Machine, ann: User) -> None:
    browser = signed_in(ann)
    page = browser.post(f"/machines/{running.pk}/export/", {"format": "ova"}, follow=True).content.decode()
    assert "has to be off" in page
    people.done(running, Observed.OFF)
    Machine.objects.update(power="off")
    assert "Choose a format" in browser.post(f"/machines/{running.pk}/export/", follow=True).content.decode()
    browser.post(f"/machines/{running.pk}/export/", {"format": "qcow2"})
    assert Export.objects.get().file_name == "web.qcow2"
    page = browser.post(f"/machines/{running.pk}/start/", follow=True).content.decode()
    assert "“Export” is under way" in page


@pytest.mark.parametrize("state", [OperationState.FAILED, OperationState.SUPERSEDED, OperationState.DONE])
def test_one_that_did_not_come_whole_leaves_nothing(off: Machine, ann: User, state: OperationState) -> None:
    asked = services.export_begin(machine=off, kind="ova", by=ann)
    export = Export.objects.get()
    parts.make_folder(export.path.parent)
    export.path.write_bytes(b"half")
    if state is OperationState.SUPERSEDED:
        operation_cancel(machine=off, by=ann)
    facts = ExportFacts(size_bytes=8, sha256="ab" * 32) if state is OperationState.DONE else None
    assert progress_take(told(asked, state, facts=facts))
    assert not Export.objects.exists()
    services.clear_exports()
    assert not export.path.exists()


def test_after_its_time_it_is_gone(off: Machine, ann: User, folder: Path) -> None:
    asked = services.export_begin(machine=off, kind="ova", by=ann)
    Export.objects.update(received_bytes=4)
    assert progress_take(told(asked, facts=ExportFacts(size_bytes=4, sha256="ab" * 32)))
    export = Export.objects.get()
    parts.make_folder(folder)
    export.path.write_bytes(b"file")
    (folder / "stray").write_bytes(b"of a machine that was deleted")
    assert services.clear_exports() == 1
    Export.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    services.clear_exports()
    services.clear_exports()
    assert list(folder.iterdir()) == []


def _stop_at(times: int) -> Callable[[], None]:
    calls: Iterator[int] = iter(range(1, 100))

    def between() -> None:
        if next(calls) == times:
            raise Stopped

    return between
