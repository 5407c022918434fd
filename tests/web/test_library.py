"""The library: its page, who may delete, what hosts may fetch, and discs from a folder."""

from __future__ import annotations

import io
import os
from pathlib import Path
from uuid import uuid4

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from django.http import StreamingHttpResponse
from django.test import AsyncClient, Client
from itsdangerous import TimestampSigner
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from launch.bootable_disc import make_bootable_disc
from portal.accounts.models import User
from portal.fleet.models import Host
from portal.images import services
from portal.images.models import Image
from portal.machines.models import Machine
from portal.refusal import Refused
from workers.contract.tokens import Purpose, issue


@pytest.fixture(scope="module")
def disc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disc")
    (folder / "kernel").write_bytes(b"k" * 5000)
    target = folder / "netinst.iso"
    make_bootable_disc(
        target, kernel=folder / "kernel", initrd=folder / "kernel", arguments="", label="<B>LABEL"
    )
    return target


@pytest.fixture(autouse=True)
def folders(settings: LazySettings, tmp_path: Path) -> None:
    settings.LIBRARY_DIR = tmp_path / "library"
    settings.UPLOAD_DIR = tmp_path / "uploads"


@pytest.fixture
def ann(db: None) -> User:
    return User.objects.create_user("ann")


@pytest.fixture
def ben(db: None) -> User:
    return User.objects.create_user("ben")


@pytest.fixture
def boss(db: None) -> User:
    return User.objects.create_user("boss", is_staff=True)


@pytest.fixture
def image(disc: Path, ann: User) -> Image:
    return services.image_add_file(path=disc, added_by=ann)


def signed_in(user: User, *, csrf: bool = False) -> Client:
    client = Client(enforce_csrf_checks=csrf)
    client.force_login(user)
    return client


def in_a_drive(image: Image, owner: User) -> Machine:
    host = Host.objects.create(name="alpha", gateway="unix:/nowhere")
    return Machine.objects.create(
        owner=owner,
        host=host,
        name="web",
        cpus=1,
        memory_mib=64,
        disc=image,
        boot_from="disc",
        power="running",
    )


def test_the_page_shows_every_disc_to_everybody_who_is_signed_in(
    image: Image, ann: User, ben: User, disc: Path, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(20):
        services.image_add_file(path=disc, name=f"more {number}", added_by=ben)
    browser = signed_in(ben)
    with django_assert_max_num_queries(8):
        page = browser.get("/discs/").content.decode()
    assert "netinst" in page
    assert "&lt;B&gt;LABEL" in page
    assert f"/discs/{image.pk}/delete/" not in page
    assert 'data-live="library"' in page
    hers = signed_in(ann).get("/discs/").content.decode()
    question = 'data-confirm="Delete ‘netinst’ from the library? There is no undo."'
    assert f'action="/discs/{image.pk}/delete/" {question}' in hers
    assert Client().get("/discs/").status_code == 302


def test_a_disc_is_deleted_by_who_added_it_and_by_an_administrator_only(
    image: Image,
    ann: User,
    ben: User,
    boss: User,
    disc: Path,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    Host.objects.create(name="alpha", gateway="unix:/nowhere")  # the broker is away: nobody waits for it
    address = f"/discs/{image.pk}/delete/"
    assert Client().post(address).status_code == 302
    assert signed_in(ann).get(address).status_code == 405
    assert signed_in(ann, csrf=True).post(address).status_code == 403
    refused = signed_in(ben).post(address)
    assert refused.status_code == 403
    assert "Nothing was changed." in refused.content.decode()
    assert image.path.exists()
    with django_capture_on_commit_callbacks(execute=True):
        assert "was deleted" in signed_in(ann).post(address, follow=True).content.decode()
    assert not image.path.exists()
    assert signed_in(ann).post(address).status_code == 404
    other = services.image_add_file(path=disc, added_by=ann)
    with django_capture_on_commit_callbacks(execute=True):
        services.image_delete(image=other, by=boss)
    assert not Image.objects.exists()


def test_a_disc_in_a_drive_stays(image: Image, ann: User, ben: User) -> None:
    in_a_drive(image, ben)
    with pytest.raises(Refused, match="Nothing was deleted: take it out"):
        services.image_delete(image=image, by=ann)
    page = signed_in(ann).get("/discs/").content.decode()
    assert "1 machine" in page
    assert "web" not in page.split('id="library-list"')[1]  # other people's machines have no name here
    assert image.path.exists()
    assert Image.objects.filter(pk=image.pk).exists()


def test_a_disc_from_a_folder_is_added_and_said(disc: Path, db: None, settings: LazySettings) -> None:
    said = io.StringIO()
    call_command("add_image", str(disc), name="Debian 12", stdout=said)
    call_command("add_image", str(disc), name="Debian 12")
    assert "Debian 12" in said.getvalue()
    assert [each.name for each in Image.objects.all()] == ["Debian 12", "Debian 12 (2)"]
    image = Image.objects.all()[0]
    assert image.path.read_bytes() == disc.read_bytes()
    assert image.path.stat().st_ino != disc.stat().st_ino
    assert image.path.stat().st_mode & 0o777 == 0o600
    assert list(settings.UPLOAD_DIR.iterdir()) == []


def test_a_disc_that_is_there_already_is_not_added_again_where_that_was_asked(disc: Path, db: None) -> None:
    for words in ("Added", "in the library already"):
        said = io.StringIO()
        call_command("add_image", str(disc), name="Debian 12", if_absent=True, stdout=said)
        assert words in said.getvalue()
    assert [each.name for each in Image.objects.all()] == ["Debian 12"]


def test_a_file_that_is_no_disc_ends_the_command_and_leaves_nothing(
    db: None, tmp_path: Path, settings: LazySettings
) -> None:
    wrong = tmp_path / "disk.iso"
    wrong.write_bytes(b"QFI\xfb" + bytes(100_000))
    os.mkfifo(tmp_path / "pipe.iso")
    for path, words in (
        (wrong, "a qcow2 disk image"),
        (tmp_path / "no", "No such file"),
        (tmp_path, "directory"),
    ):
        with pytest.raises(CommandError, match=words) as ended:
            call_command("add_image", str(path))
        assert ended.value.returncode == 1
    assert not Image.objects.exists()
    assert not settings.UPLOAD_DIR.exists()
    assert not settings.LIBRARY_DIR.exists()


def test_discs_added_by_root_belong_to_the_portals_account(
    disc: Path, db: None, settings: LazySettings
) -> None:
    for folder in (settings.LIBRARY_DIR, settings.UPLOAD_DIR):
        folder.mkdir()
        os.chown(folder, 65534, 65534)
    assert services.image_add_file(path=disc).path.stat().st_uid == 65534


def bearer(image: Image, settings: LazySettings, purpose: Purpose = Purpose.IMAGE) -> dict[str, str]:
    token = issue(key=settings.FLEET_KEY, purpose=purpose, subject=str(image.pk))
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("wrong", ["none", "purpose", "image", "key", "age", "scheme"])
def test_a_disc_is_given_to_hosts_only(
    image: Image, ann: User, settings: LazySettings, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = bearer(image, settings)
    if wrong == "none":
        headers = {}
    elif wrong == "purpose":
        headers = bearer(image, settings, Purpose.CONSOLE)
    elif wrong == "image":
        headers = bearer(Image(), settings)
    elif wrong == "key":
        forged = issue(key="another fleet's", purpose=Purpose.IMAGE, subject=str(image.pk))
        headers = {"Authorization": f"Bearer {forged}"}
    elif wrong == "age":
        with monkeypatch.context() as patch:
            now = TimestampSigner("x").get_timestamp()
            patch.setattr(TimestampSigner, "get_timestamp", lambda _self: now - 301)
            headers = bearer(image, settings)
    else:
        headers = {"Authorization": headers["Authorization"].replace("Bearer", "Basic")}
    answer = signed_in(ann).get(f"/discs/{image.pk}/file/", headers=headers)
    assert answer.status_code == 401
    assert answer.content == b""


@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
async def test_a_host_gets_the_part_it_asks_for(disc: Path, settings: LazySettings) -> None:
    from asgiref.sync import sync_to_async

    image = await sync_to_async(services.image_add_file)(path=disc)
    raw = disc.read_bytes()
    size = len(raw)

    async def get(wanted: str, **more: str):  # type: ignore[no-untyped-def]
        headers = bearer(image, settings) | ({"Range": wanted} if wanted else {}) | more
        answer = await AsyncClient().get(f"/discs/{image.pk}/file/", headers=headers)
        body = b""
        if isinstance(answer, StreamingHttpResponse):
            body = b"".join([part async for part in aiter(answer)])
        answer.close()
        return answer, body

    for wanted, part, words in (
        ("bytes=0-", raw, f"bytes 0-{size - 1}/{size}"),
        ("bytes=10-19", raw[10:20], f"bytes 10-19/{size}"),
        (f"bytes={size - 5}-{size + 90}", raw[-5:], f"bytes {size - 5}-{size - 1}/{size}"),
        ("bytes=-7", raw[-7:], f"bytes {size - 7}-{size - 1}/{size}"),
    ):
        answer, body = await get(wanted)
        assert (answer.status_code, answer["Content-Range"]) == (206, words)
        assert body == part
        assert answer["Content-Length"] == str(len(part))
    for wanted in ("", "bytes=9-3", "bytes=1-2,5-6", "lines=1-2", "bytes=-", "bytes=a-b"):
        answer, body = await get(wanted)
        assert (answer.status_code, body == raw) == (200, True)
    for wanted in (f"bytes={size}-", "bytes=-0"):
        answer, _ = await get(wanted)
        assert (answer.status_code, answer["Content-Range"]) == (416, f"bytes */{size}")
    answer, _ = await get("bytes=5-", **{"If-Range": '"another"'})
    assert answer.status_code == 200
    missing = await AsyncClient().get(
        f"/discs/{uuid4()}/file/", headers={"Authorization": bearer(image, settings)["Authorization"]}
    )
    assert missing.status_code == 401
    await sync_to_async(image.path.unlink)()
    assert (await get("bytes=0-"))[0].status_code == 404
