"""Downloads from the catalogue: a server of the test's own breaks, lies, sends without an end, and sends us elsewhere."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from django.conf import LazySettings

from portal.accounts.models import User
from portal.images import catalogue, downloads, fetching
from portal.images.catalogue import Entry
from portal.images.models import Download, DownloadState, Image, ImageKind, ImageState
from portal.refusal import Refused
from tests.lab.images import disk_image
from tests.lab.maker import Maker, maker
from tests.lab.waiting import wait_for
from tests.web.people import signed_in

ENTRY = Entry(
    key="debian",
    name="Debian 12, cloud image",
    system="Debian",
    version="12",
    kind="disk",
    is_cloud=True,
    folder="https://cloud.example.org/images/12/",
    file=r"debian-12\.\d+\.qcow2",
    sums="SHA256SUMS",
    algorithm="sha256",
    most_gib=1,
)
NAME = "debian-12.10.qcow2"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("image")
    return disk_image(folder, "qcow2", "cluster_size=2M").read_bytes()


@pytest.fixture
def server(
    settings: LazySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> Iterator[Maker]:
    settings.LIBRARY_DIR, settings.UPLOAD_DIR = tmp_path / "library", tmp_path / "uploads"
    monkeypatch.setattr(downloads, "entries", lambda: {ENTRY.key: ENTRY})
    with maker() as server:
        settings.MIRROR = server.address
        server.files = {
            NAME: content,
            "SHA256SUMS": f"{'0' * 64}  debian-12.9.qcow2\n{sum_of(content)} *{NAME}\n".encode(),
        }
        yield server


@pytest.fixture
def wanted(server: Maker, boss: User) -> Download:
    return downloads.download_begin(key="debian", by=boss)


def sum_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def now(download: Download) -> Download:
    return Download.objects.get(pk=download.pk)


def left(settings: LazySettings) -> list[str]:
    return sorted(path.name for path in Path(settings.UPLOAD_DIR).glob("*"))


def test_the_newest_is_fetched_compared_and_put_into_the_library(
    wanted: Download, content: bytes, settings: LazySettings, boss: User
) -> None:
    image = downloads.carry_out(wanted.pk)
    assert image is not None
    image = Image.objects.get()
    assert (image.id, image.sha256, image.size_bytes) == (wanted.pk, sum_of(content), len(content))
    assert (image.name, image.system, image.version, image.is_cloud) == (ENTRY.name, "Debian", "12", True)
    assert (image.kind, image.state, image.added_by) == (ImageKind.DISK, ImageState.CHECKING, boss)
    assert image.path.read_bytes() == content
    assert not Download.objects.exists()
    assert left(settings) == []


def test_a_transfer_that_breaks_goes_on_where_it_broke(
    wanted: Download, server: Maker, content: bytes
) -> None:
    server.breaks_after = [1_000_000, 500_000]
    for have in (1_000_000, 1_500_000):
        assert downloads.carry_out(wanted.pk) is None
        row = now(wanted)
        assert (row.state, row.offset_bytes, row.size_bytes) == (DownloadState.RUNNING, have, len(content))
    assert downloads.carry_out(wanted.pk) is not None
    assert server.asked == ["", "bytes=1000000-", "bytes=1500000-"]
    assert Image.objects.get().path.read_bytes() == content


def test_another_file_or_a_server_without_parts_begins_from_the_start(
    wanted: Download, server: Maker, content: bytes
) -> None:
    server.breaks_after = [1_000_000, 700_000]
    downloads.carry_out(wanted.pk)
    server.named = '"two"'
    downloads.carry_out(wanted.pk)
    assert now(wanted).offset_bytes == 700_000
    server.ignores_ranges = True
    assert downloads.carry_out(wanted.pk) is not None
    assert Image.objects.get().path.read_bytes() == content


def test_what_is_not_what_its_makers_publish_is_thrown_away(
    wanted: Download, server: Maker, content: bytes, settings: LazySettings, boss: User
) -> None:
    server.files[NAME] = content[:-1] + b"!"
    assert downloads.carry_out(wanted.pk) is None
    row = now(wanted)
    assert row.state == DownloadState.FAILED
    assert "not what its makers publish" in row.problem
    assert row.path.stat().st_size == 0
    assert not Image.objects.exists()
    server.files[NAME] = content
    downloads.download_go_on(download=row, by=boss)
    assert downloads.carry_out(wanted.pk) is not None


@pytest.mark.parametrize("announced", [True, False])
def test_a_file_without_an_end_is_cut_off(
    wanted: Download,
    server: Maker,
    settings: LazySettings,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    *,
    announced: bool,
) -> None:
    monkeypatch.setattr(downloads, "_GIB", 1024 * 1024)  # an entry of 1 MiB at most
    server.is_endless = not announced
    assert downloads.carry_out(wanted.pk) is None
    row = now(wanted)
    assert row.state == DownloadState.FAILED
    assert "at most 1.0" in row.problem
    assert row.path.stat().st_size <= 1024 * 1024
    assert not Image.objects.exists()


def test_a_pause_counts_while_bytes_come_and_a_cancellation_leaves_nothing(
    wanted: Download, server: Maker, settings: LazySettings, boss: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_TELLS_EVERY_SECONDS", 0.0)
    real = downloads._note
    steps = iter(range(1000))

    def pausing(download: Download, **changes: object) -> None:
        real(download, **changes)
        if "breaks" in changes and next(steps) == 3:
            downloads.download_pause(download=download, by=boss)

    monkeypatch.setattr(downloads, "_note", pausing)
    assert downloads.carry_out(wanted.pk) is None
    row = now(wanted)
    assert row.state == DownloadState.PAUSED
    assert 0 < row.path.stat().st_size < row.size_bytes
    assert downloads.carry_out(wanted.pk) is None
    downloads.download_go_on(download=row, by=boss)

    def cancelling(download: Download, **changes: object) -> None:
        if "breaks" in changes:
            downloads.download_cancel(download=download, by=boss)
        real(download, **changes)

    monkeypatch.setattr(downloads, "_note", cancelling)
    assert downloads.carry_out(wanted.pk) is None
    assert left(settings) == []
    assert not Download.objects.exists()


def test_a_server_that_is_away_is_asked_again_and_given_up_in_the_end(
    wanted: Download, server: Maker
) -> None:
    server.status = 503
    for number in range(1, downloads._MOST_BREAKS + 1):
        downloads.carry_out(wanted.pk)
        assert (now(wanted).state, now(wanted).breaks) == (DownloadState.RUNNING, number)
    assert downloads.go_on(lambda _: None) == []  # not at once after a break
    downloads.carry_out(wanted.pk)
    assert now(wanted).state == DownloadState.FAILED
    assert "again and again" in now(wanted).problem


@pytest.mark.parametrize(
    ("elsewhere", "words"),
    [
        ("http://example.org/x.qcow2", "without encryption"),
        ("https://127.0.0.1:1/x.qcow2", "private network"),
        ("https://169.254.169.254/latest/", "private network"),
        ("https://[::1]/x", "private network"),
        ("https://[::ffff:10.0.0.1]/x", "private network"),
        ("file:///etc/passwd", "without encryption"),
        (NAME, "without an end"),
    ],
)
def test_no_server_sends_us_into_the_own_network(
    wanted: Download, server: Maker, elsewhere: str, words: str
) -> None:
    server.redirects[NAME] = elsewhere
    assert downloads.carry_out(wanted.pk) is None
    assert now(wanted).state == DownloadState.FAILED
    assert words in now(wanted).problem


def test_a_name_that_means_a_private_address_is_not_spoken_with(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(2, 1, 6, "", ("93.184.216.34", 443)), (2, 1, 6, "", ("192.168.1.1", 443))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_a, **_k: found)
    with pytest.raises(Refused, match="private network"):
        fetching.text("https://maker.example.org/SHA256SUMS")


def test_what_is_something_else_than_the_catalogue_says_is_refused(wanted: Download, server: Maker) -> None:
    page = b"<!DOCTYPE html>" + bytes(10000)
    server.files |= {NAME: page, "SHA256SUMS": f"{sum_of(page)}  {NAME}\n".encode()}
    assert downloads.carry_out(wanted.pk) is None
    assert "a web page" in now(wanted).problem
    assert now(wanted).path.stat().st_size == 0


def test_only_an_administrator_downloads_and_nothing_twice(wanted: Download, ann: User, boss: User) -> None:
    with pytest.raises(Refused, match="on its way"):
        downloads.download_begin(key="debian", by=boss)
    with pytest.raises(Refused, match="no such"):
        downloads.download_begin(key="../../etc", by=boss)
    for act in ("pause", "cancel"):
        assert signed_in(ann).post(f"/discs/catalogue/{wanted.pk}/{act}/").status_code == 404
    assert signed_in(ann).post("/discs/catalogue/", {"key": "debian"}).status_code == 404
    assert now(wanted).state != DownloadState.PAUSED
    assert "Download a well-known system" not in signed_in(ann).get("/discs/").content.decode()
    page = signed_in(boss).get("/discs/").content.decode()
    assert "Download a well-known system" in page
    assert f"/discs/catalogue/{wanted.pk}/pause/" in page
    question = f'data-confirm="Cancel the download of “{ENTRY.name}”? What has come of it is thrown away."'
    assert f'action="/discs/catalogue/{wanted.pk}/cancel/" {question}' in page
    assert signed_in(boss).post(f"/discs/catalogue/{wanted.pk}/pause/").status_code == 302
    assert now(wanted).state == DownloadState.PAUSED
    assert signed_in(boss).post(f"/discs/catalogue/{wanted.pk}/explode/").status_code == 404


def test_a_few_at_once_and_none_twice(boss: User) -> None:
    rows = [Download.objects.create(key=f"k{number}", name=f"{number}") for number in range(4)]
    begun: list[UUID] = []
    try:
        assert len(downloads.go_on(begun.append)) == 2
        assert downloads.go_on(begun.append) == []
        downloads.finished(begun[0])
        assert downloads.go_on(begun.append) == [begun[0]]
    finally:
        for row in rows:
            downloads.finished(row.pk)


@pytest.mark.django_db(transaction=True)
def test_it_is_carried_out_beside_the_workers_own_threads(server: Maker, boss: User) -> None:
    download = downloads.download_begin(key="debian", by=boss)
    downloads.go_on()
    wait_for("it is in the library", lambda: Image.objects.filter(pk=download.pk).exists(), seconds=60)
    wait_for(
        "its thread is gone",
        lambda: not [each for each in threading.enumerate() if each.name.startswith("download ")],
        seconds=60,
    )


def test_the_catalogue_is_whole_and_names_the_makers_own_addresses(settings: LazySettings) -> None:
    settings.MIRROR = ""
    found = catalogue.entries()
    assert len(found) >= 8
    assert {each.kind for each in found.values()} == {"disc", "disk"}
    for entry in found.values():
        assert entry.sums_address.startswith("https://")
        assert re.compile(entry.file)
        assert entry.is_cloud is (entry.kind == "disk")
    settings.MIRROR = "http://mirror.lan/linux"
    wanted = "http://mirror.lan/linux/debian-cd/current/amd64/iso-cd/SHA256SUMS"
    assert found["debian-netinst"].sums_address == wanted


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("{sum}  debian-12.9.qcow2", "debian-12.9.qcow2"),
        ("{sum} *./debian-12.9.qcow2", "debian-12.9.qcow2"),
        ("SHA256 (debian-12.9.qcow2) = {sum}", "debian-12.9.qcow2"),
        (
            "{sum}  debian-12.9.qcow2\n{sum}  debian-12.10.qcow2\n{sum}  debian-12.2.qcow2",
            "debian-12.10.qcow2",
        ),
        (
            "-----BEGIN PGP SIGNED MESSAGE-----\n\n# x: 12 bytes\n{sum}  debian-12.9.qcow2",
            "debian-12.9.qcow2",
        ),
    ],
)
def test_every_usual_list_of_sums_is_read(line: str, name: str) -> None:
    assert catalogue.newest(ENTRY, line.format(sum="ab" * 32)) == (name, "ab" * 32)


@pytest.mark.parametrize(
    "line",
    ["", "{sum}  other.iso", "abcd  debian-12.9.qcow2", "{sum}  debian-12.9.qcow2?x=/../../etc/passwd"],
)
def test_a_list_without_the_file_is_refused(line: str) -> None:
    with pytest.raises(Refused, match="names no such file"):
        catalogue.newest(ENTRY, line.format(sum="ab" * 32))
