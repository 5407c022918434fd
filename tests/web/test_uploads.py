"""Uploads into the library: the tus protocol, refusals, crashes, a full disk, and real HTTP."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
import uvicorn
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone

from launch.bootable_disc import make_bootable_disc
from portal.accounts.models import User
from portal.images import parts, services
from portal.images.models import Image, Upload
from portal.refusal import Refused
from tests.lab.waiting import wait_for
from workers.contract.spec import DiscSpec
from workers.host.library import cached, fetch_disc

PIECE = 200_000
TUS = {"Tus-Resumable": "1.0.0"}


@pytest.fixture(scope="module")
def disc(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("disc")
    (folder / "kernel").write_bytes(b"k" * 5000)
    make_bootable_disc(
        folder / "a.iso", kernel=folder / "kernel", initrd=folder / "kernel", arguments="", label="UPLOADED"
    )
    return (folder / "a.iso").read_bytes()


@pytest.fixture(autouse=True)
def folders(settings: LazySettings, tmp_path: Path) -> None:
    settings.LIBRARY_DIR = tmp_path / "library"
    settings.UPLOAD_DIR = tmp_path / "uploads"
    settings.UPLOAD_CHUNK_BYTES = PIECE


@pytest.fixture
def ann(db: None) -> User:
    return User.objects.create_user("ann", password="a long password")


@pytest.fixture
def ben(db: None) -> User:
    return User.objects.create_user("ben", password="a long password")


@pytest.fixture
def browser(ann: User) -> Client:
    return signed_in(ann)


def signed_in(user: User, *, csrf: bool = False) -> Client:
    client = Client(enforce_csrf_checks=csrf, raise_request_exception=False)
    client.force_login(user)
    return client


def create(browser: Client, length: int, filename: str = "debian-12.iso"):  # type: ignore[no-untyped-def]
    name = base64.b64encode(filename.encode()).decode()
    headers = {**TUS, "Upload-Length": str(length), "Upload-Metadata": f"filename {name},filetype YQ=="}
    return browser.post("/discs/uploads/", headers=headers, content_type="application/offset+octet-stream")


def begin(browser: Client, length: int, filename: str = "debian-12.iso") -> str:
    answer = create(browser, length, filename)
    assert answer.status_code == 201, answer.content
    return str(answer["Location"])


def send(browser: Client, address: str, offset: int, piece: bytes):  # type: ignore[no-untyped-def]
    headers = {**TUS, "Upload-Offset": str(offset)}
    return browser.patch(address, piece, content_type="application/offset+octet-stream", headers=headers)


def send_all(browser: Client, address: str, raw: bytes, start: int = 0):  # type: ignore[no-untyped-def]
    for offset in range(start, len(raw), PIECE):
        answer = send(browser, address, offset, raw[offset : offset + PIECE])
        if answer.status_code != 204:
            break
    return answer


def id_of(address: str) -> UUID:
    return UUID(address.rstrip("/").rsplit("/", 1)[-1])


def files(settings: LazySettings) -> list[str]:
    folders = (settings.UPLOAD_DIR, settings.LIBRARY_DIR)
    return sorted(each.name for folder in folders if folder.exists() for each in folder.iterdir())


def test_a_disc_arrives_in_pieces_and_is_in_the_library(
    browser: Client, ann: User, disc: bytes, settings: LazySettings
) -> None:
    address = begin(browser, len(disc))
    send(browser, address, 0, disc[:PIECE])
    middle = browser.head(address, headers=TUS)
    assert (middle["Upload-Offset"], middle["Upload-Length"]) == (str(PIECE), str(len(disc)))
    assert "Upload-Expires" in middle
    assert middle["Cache-Control"] == "no-store"
    assert send_all(browser, address, disc, PIECE)["Upload-Offset"] == str(len(disc))
    image = Image.objects.get()
    assert (image.name, image.volume_label, image.added_by) == ("debian-12", "UPLOADED", ann)
    assert (image.size_bytes, image.sha256) == (len(disc), hashlib.sha256(disc).hexdigest())
    assert image.path.read_bytes() == disc
    assert files(settings) == [image.path.name]
    assert not Upload.objects.exists()
    # The last answer may have been lost on its way: who asks again hears that all has arrived.
    assert browser.head(address, headers=TUS)["Upload-Offset"] == str(len(disc))


def test_what_is_no_disc_is_refused_by_its_first_piece_and_leaves_nothing(
    browser: Client, settings: LazySettings
) -> None:
    address = begin(browser, 700_000_000)
    answer = send(browser, address, 0, b"QFI\xfb\x00\x00\x00\x03" + bytes(PIECE - 8))
    assert answer.status_code == 422
    assert "a qcow2 disk image" in answer.json()["message"]
    assert not Upload.objects.exists()
    assert files(settings) == []
    assert browser.head(address, headers=TUS).status_code == 404


def test_a_disc_with_a_hole_in_it_is_refused_by_its_last_piece_and_leaves_nothing(
    browser: Client, disc: bytes, settings: LazySettings
) -> None:
    root = int.from_bytes(disc[16 * 2048 + 158 :][:4], "little") * 2048
    answer = send_all(browser, begin(browser, len(disc)), disc[:root] + bytes(2048) + disc[root + 2048 :])
    assert answer.status_code == 422
    assert "damaged" in answer.json()["message"]
    assert not Upload.objects.exists()
    assert not Image.objects.exists()
    assert files(settings) == []


def test_two_discs_of_one_name_are_told_apart(browser: Client, disc: bytes) -> None:
    for _ in range(3):
        assert (
            send_all(browser, begin(browser, len(disc), "C:\\discs\\net\x07inst.ISO"), disc).status_code
            == 204
        )
    assert {each.name for each in Image.objects.all()} == {"net inst", "net inst (2)", "net inst (3)"}


def test_an_upload_is_there_for_its_owner_only(browser: Client, ben: User, disc: bytes) -> None:
    address = begin(browser, len(disc))
    boss = User.objects.create_user("boss", is_staff=True)
    for stranger in (signed_in(ben), signed_in(boss)):
        assert stranger.head(address, headers=TUS).status_code == 404
        assert send(stranger, address, 0, disc[:PIECE]).status_code == 404
        assert stranger.delete(address, headers=TUS).status_code == 404
    nobody = Client()
    for answer in (create(nobody, 5), send(nobody, address, 0, b"x"), nobody.delete(address, headers=TUS)):
        assert answer.status_code == 401
        assert "signed out" in answer.json()["message"]
    assert browser.head(address, headers=TUS)["Upload-Offset"] == "0"
    assert send_all(browser, address, disc).status_code == 204
    assert signed_in(ben).head(address, headers=TUS).status_code == 404


def test_every_change_needs_the_pages_token(ann: User, disc: bytes) -> None:
    browser = signed_in(ann, csrf=True)
    assert create(browser, 5).status_code == 403
    address = begin(signed_in(ann), len(disc))
    assert send(browser, address, 0, disc[:PIECE]).status_code == 403
    assert browser.delete(address, headers=TUS).status_code == 403
    assert browser.get(address).status_code == 405
    page = browser.get("/discs/").content.decode()
    token = page.split('id="upload-csrf" value="')[1].split('"')[0]
    headers = {**TUS, "Upload-Offset": "0", "X-CSRFToken": token}
    kind = "application/offset+octet-stream"
    assert browser.patch(address, disc[:PIECE], content_type=kind, headers=headers).status_code == 204
    assert browser.delete(address, headers={**TUS, "X-CSRFToken": token}).status_code == 204


def test_bytes_that_do_not_join_on_are_turned_away(browser: Client, disc: bytes) -> None:
    address = begin(browser, len(disc))
    early = send(browser, address, 5, disc[:10])
    assert (early.status_code, early["Upload-Offset"]) == (409, "0")
    assert send(browser, address, 0, disc[: PIECE + 1]).status_code == 413
    with parts.locked(Upload.objects.get().path):
        assert send(browser, address, 0, disc[:PIECE]).status_code == 423
    wrong = browser.patch(address, b"x", content_type="text/plain", headers={**TUS, "Upload-Offset": "0"})
    assert wrong.status_code == 415
    for offset in ("-1", "1e3", "", "9" * 40):
        assert send(browser, address, offset, b"x").status_code == 400  # type: ignore[arg-type]
    short = begin(browser, 10)
    assert send(browser, short, 0, bytes(11)).status_code == 413
    assert send_all(browser, address, disc).status_code == 204


def test_the_protocol_is_spoken(browser: Client) -> None:
    can = browser.options("/discs/uploads/")
    assert (can["Tus-Version"], can["Tus-Extension"]) == ("1.0.0", "creation,termination,expiration")
    old = browser.post("/discs/uploads/", headers={"Upload-Length": "5"})
    assert (old.status_code, old["Tus-Version"], old["Tus-Resumable"]) == (412, "1.0.0", "1.0.0")
    assert browser.post("/discs/uploads/", headers={**TUS, "Upload-Defer-Length": "1"}).status_code == 400
    headers = {**TUS, "Upload-Length": "5", "Upload-Metadata": "filename !!"}
    assert browser.post("/discs/uploads/", headers=headers).status_code == 400


def test_too_large_too_many_and_no_room_are_refused_in_words(
    browser: Client, ann: User, settings: LazySettings
) -> None:
    assert "at most" in create(browser, settings.UPLOAD_LARGEST_BYTES + 1).json()["message"]
    settings.UPLOAD_LARGEST_BYTES = 2**60
    answer = create(browser, 2**59)
    assert answer.status_code == 422
    assert "no room" in answer.json()["message"]
    for _ in range(20):
        begin(browser, 10)
    assert "unfinished uploads" in create(browser, 10).json()["message"]


def test_a_crash_between_file_and_row_heals(browser: Client, disc: bytes) -> None:
    address = begin(browser, len(disc))
    send(browser, address, 0, disc[:PIECE])
    part = Upload.objects.get().path
    with part.open("ab") as file:  # more in the file than the row knows: the row counts
        file.write(b"never acknowledged" * 50)
    assert send(browser, address, PIECE, disc[PIECE : PIECE + 100]).status_code == 204
    assert part.read_bytes() == disc[: PIECE + 100]
    with part.open("r+b") as file:  # less than the row says: the file counts
        file.truncate(PIECE)
    back = send(browser, address, PIECE + 100, disc[PIECE + 100 : PIECE + 200])
    assert (back.status_code, back["Upload-Offset"]) == (409, str(PIECE))
    assert browser.head(address, headers=TUS)["Upload-Offset"] == str(PIECE)
    assert send_all(browser, address, disc, PIECE).status_code == 204
    assert Image.objects.get().sha256 == hashlib.sha256(disc).hexdigest()


@pytest.mark.parametrize(
    ("place", "name"), [(parts, "sha256"), (parts, "shelve"), (services, "_write_row"), (Image, "save")]
)
def test_a_failure_at_each_step_of_finishing_loses_nothing(
    browser: Client, disc: bytes, settings: LazySettings, place: object, name: str
) -> None:
    address = begin(browser, len(disc))
    send(browser, address, 0, disc[:PIECE])

    def fail(*_args: object, **_words: object) -> None:
        raise RuntimeError("the power went away here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, name, fail)
        assert send_all(browser, address, disc, PIECE).status_code == 500
    offset = int(browser.head(address, headers=TUS)["Upload-Offset"])
    assert offset < len(disc)
    assert files(settings) == [f"{id_of(address)}.part"]
    assert send_all(browser, address, disc, offset).status_code == 204
    assert Image.objects.get().path.read_bytes() == disc
    assert files(settings) == [f"{id_of(address)}.iso"]


def test_a_cancelled_upload_leaves_nothing(browser: Client, disc: bytes, settings: LazySettings) -> None:
    address = begin(browser, len(disc))
    send(browser, address, 0, disc[:PIECE])
    assert browser.delete(address, headers=TUS).status_code == 204
    assert files(settings) == []
    assert browser.delete(address, headers=TUS).status_code == 404
    assert send(browser, address, PIECE, b"x").status_code == 404
    assert files(settings) == []


@pytest.mark.parametrize("step", ["sha256", "shelve"])
def test_an_upload_that_is_cancelled_while_it_is_finished_leaves_nothing(
    browser: Client, disc: bytes, settings: LazySettings, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    address = begin(browser, len(disc))
    really = getattr(parts, step)

    def cancelled_right_after(*args: object) -> object:
        answer = really(*args)
        assert browser.delete(address, headers=TUS).status_code == 204
        return answer

    monkeypatch.setattr(parts, step, cancelled_right_after)
    assert send_all(browser, address, disc).status_code == 404
    assert files(settings) == []
    assert not Image.objects.exists()


def test_a_full_disk_keeps_what_arrived_and_goes_on_when_there_is_room(
    browser: Client, disc: bytes, settings: LazySettings, tmp_path: Path
) -> None:
    address = begin(browser, len(disc))
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(small)], check=True)
    try:
        settings.UPLOAD_DIR, settings.LIBRARY_DIR = small, small
        assert send(browser, address, 0, disc[:PIECE]).status_code == 204
        (small / "filler").write_bytes(bytes(360_000))
        answer = send(browser, address, PIECE, disc[PIECE : 2 * PIECE])
        assert answer.status_code == 507
        assert "What has arrived is kept" in answer.json()["message"]
        assert browser.head(address, headers=TUS)["Upload-Offset"] == str(PIECE)
        (small / "filler").unlink()
        subprocess.run(["mount", "-o", "remount,size=4m", str(small)], check=True)
        assert send_all(browser, address, disc, PIECE).status_code == 204
        assert Image.objects.get().path.read_bytes() == disc
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_what_nobody_came_back_for_is_removed(browser: Client, disc: bytes, settings: LazySettings) -> None:
    old, new = begin(browser, len(disc)), begin(browser, len(disc))
    for address in (old, new):
        send(browser, address, 0, disc[:PIECE])
    Upload.objects.filter(pk=id_of(old)).update(touched_at=timezone.now() - timedelta(days=8))
    orphan = settings.UPLOAD_DIR / f"{uuid4()}.part"
    orphan.write_bytes(b"a crash left me")
    os.utime(orphan, (0, 0))
    assert services.clear_expired_uploads() == 2
    assert files(settings) == [f"{id_of(new)}.part"]
    assert [each.pk for each in Upload.objects.all()] == [id_of(new)]


def test_a_body_that_breaks_off_leaves_the_file_as_it_was(ann: User, disc: bytes) -> None:
    upload = services.upload_begin(owner=ann, filename="a.iso", length=len(disc))

    class Broken:
        rest = [b"some bytes"]

        def read(self, _size: int, /) -> bytes:
            if not self.rest:
                raise ConnectionResetError
            return self.rest.pop()

    with pytest.raises(ConnectionResetError):
        services.upload_append(owner=ann, upload_id=upload.pk, offset=0, body=Broken())
    assert upload.path.stat().st_size == 0
    with pytest.raises(Refused):
        services.upload_begin(owner=ann, filename="a.iso", length=0)


class Portal(threading.Thread):
    """The real web server in a thread of this process."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        from portal.asgi import application

        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        config = uvicorn.Config(
            application, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=3
        )
        self.server = uvicorn.Server(config)
        self.start()
        wait_for("the web server listens", lambda: self.server.started)

    def run(self) -> None:
        self.server.run(sockets=[self._listener])

    def close(self) -> None:
        self.server.should_exit = True
        self.join(10)
        self._listener.close()


@pytest.fixture
def portal(transactional_db: None) -> Iterator[Portal]:
    portal = Portal()
    yield portal
    portal.close()


def memory_mib() -> int:
    """What this process holds in memory that belongs to no file."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) // 1024


@pytest.mark.django_db(transaction=True)
def test_by_real_http_a_large_disc_arrives_is_fetched_by_a_host_and_needs_little_memory(
    portal: Portal, disc: bytes, settings: LazySettings, tmp_path: Path
) -> None:
    settings.UPLOAD_CHUNK_BYTES = 8 * 1024 * 1024
    session = signed_in(User.objects.create_user("ann")).cookies["sessionid"].value
    length = 300 * 1024 * 1024
    with httpx.Client(base_url=portal.address, cookies={"sessionid": session}, timeout=60) as web:
        page = web.get("/discs/")
        web.headers["X-CSRFToken"] = page.text.split('id="upload-csrf" value="')[1].split('"')[0]
        name = base64.b64encode(b"large.iso").decode()
        headers = {**TUS, "Upload-Length": str(length), "Upload-Metadata": f"filename {name}"}
        address = web.post("/discs/uploads/", headers=headers).headers["Location"]

        kind = {"Content-Type": "application/offset+octet-stream"}
        cookie = "; ".join(f"{key}={value}" for key, value in web.cookies.items())
        with socket.create_connection(("127.0.0.1", int(portal.address.rsplit(":", 1)[1]))) as broken:
            lines = {**TUS, **kind, "Upload-Offset": "0", "Content-Length": "8388608", "Cookie": cookie}
            lines |= {"Host": "127.0.0.1", "X-CSRFToken": web.headers["X-CSRFToken"]}
            head = "".join(f"{key}: {value}\r\n" for key, value in lines.items())
            broken.sendall(f"PATCH {address} HTTP/1.1\r\n{head}\r\n".encode() + disc[:100_000])
        assert web.head(address, headers=TUS).headers["Upload-Offset"] == "0"

        offset = settled = most = 0
        while offset < length:
            piece = (disc if offset == 0 else b"").ljust(8 * 1024 * 1024, b"\0")[: length - offset]
            answer = web.patch(address, content=piece, headers={**TUS, **kind, "Upload-Offset": str(offset)})
            assert answer.status_code == 204, answer.text
            offset = int(answer.headers["Upload-Offset"])
            if offset == 64 * 1024 * 1024:  # threads, pools and the pieces themselves have their room by now
                settled = memory_mib()
            most = max(most, memory_mib())
    image = Image.objects.get()
    assert image.size_bytes == image.path.stat().st_size == length

    def look(_percent: int) -> None:
        nonlocal most
        most = max(most, memory_mib())

    spec = DiscSpec(image_id=image.pk, size_bytes=image.size_bytes, sha256=image.sha256)
    folder = tmp_path / "host"
    folder.mkdir()
    cached(image.pk, folder).with_suffix(".part").write_bytes(disc[:1000])  # an earlier try broke off there
    started = time.monotonic()
    fetch_disc(spec, folder=folder, portal_url=portal.address, fleet_key=settings.FLEET_KEY, progress=look)
    print(f"fetched in {time.monotonic() - started:.1f} s, at most {most - settled} MiB more memory")
    assert cached(image.pk, folder).stat().st_size == length
    assert most - settled < 100  # of the 236 MiB that came since, and the 300 MiB that went
