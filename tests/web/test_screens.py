"""Pictures of screens: asked for while somebody looks, kept, shown to whom they concern."""

from __future__ import annotations

import base64
import time
from typing import Any
from uuid import UUID

import pytest

from portal.accounts.models import User
from portal.live import publish
from portal.machines import dispatch
from portal.machines.models import Machine
from portal.screens.models import Screen
from portal.screens.services import screen_take, screens_ask
from portal.screens.tasks import screen as screen_task
from tests.web.people import machine_of, nobody, signed_in
from workers.contract.screens import MOST_PNG_BYTES, LookAtScreens, ScreenSeen
from workers.plan.pictures import small_png

PNG = small_png(b"P6\n4 4\n255\n" + b"x" * 48) or b""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[UUID, ...]]]:
    """What hosts are asked, by name; nothing goes to a broker."""
    found: list[tuple[str, tuple[UUID, ...]]] = []

    def note(message: LookAtScreens, host: str) -> None:
        found.append((host, message.machines))

    monkeypatch.setattr(dispatch, "look_at_screens", note)
    return found


def seen(machine: Machine, png: bytes = PNG, **changes: Any) -> ScreenSeen:
    fields: dict[str, Any] = {
        "host": "rack-1",
        "machine_id": machine.pk,
        "at": int(time.time()),
        "png": base64.b64encode(png).decode(),
    }
    return ScreenSeen(**(fields | changes))


def test_whoever_looks_has_a_host_asked_once_a_minute_and_machine(
    running: Machine, ann: User, ben: User, boss: User, asked: list[tuple[str, tuple[UUID, ...]]]
) -> None:
    assert screens_ask(ben, [running.pk]) == 0, "a stranger sees nothing of it"
    assert screens_ask(ann, [running.pk, running.pk, nobody()]) == 1
    assert screens_ask(ann, [running.pk]) == 0
    assert screens_ask(boss, [running.pk]) == 0, "somebody asked just now"
    Screen.objects.update(asked_at=int(time.time()) - 61)
    assert screens_ask(boss, [running.pk]) == 1
    assert asked == [("rack-1", (running.pk,))] * 2


def test_a_machine_that_is_off_is_not_looked_at(
    machine: Machine, ann: User, asked: list[tuple[str, tuple[UUID, ...]]]
) -> None:
    Machine.objects.update(observed="off")
    assert screens_ask(ann, [machine.pk]) == 0
    assert asked == []


def test_a_picture_is_shown_to_its_owner_and_administrators_and_kept_by_nobody_in_between(
    running: Machine, ann: User, ben: User, boss: User, asked: object
) -> None:
    address = f"/machines/{running.pk}/screen.png"
    screens_ask(ann, [running.pk])
    assert signed_in(ann).get(address).status_code == 404
    assert screen_take(seen(running))
    for person in (ann, boss):
        answer = signed_in(person).get(address)
        assert (answer.status_code, answer.content) == (200, PNG)
        assert answer["Content-Type"] == "image/png"
        assert answer["Cache-Control"] == "private, max-age=60"
        assert answer["X-Content-Type-Options"] == "nosniff"
    assert signed_in(ben).get(address).status_code == 404
    assert f"{address}?at=" in signed_in(ann).get("/machines/").content.decode()
    Machine.objects.update(observed="off")
    assert signed_in(ann).get(address).status_code == 404
    assert "screen.png" not in signed_in(ann).get("/machines/").content.decode()
    Machine.objects.update(observed="running")
    Screen.objects.update(taken_at=int(time.time()) - 3600)
    assert signed_in(ann).get(address).status_code == 404, "it is of another time"
    assert "screen.png" not in signed_in(ann).get("/machines/").content.decode()


def test_what_nobody_asked_for_or_is_no_picture_is_not_kept(
    running: Machine, ann: User, asked: object
) -> None:
    assert not screen_take(seen(running)), "nobody asked"
    screens_ask(ann, [running.pk])
    now = int(time.time())
    assert not screen_take(seen(running, b"<script>"))
    assert not screen_take(seen(running, host="rack-9")), "it is another host's machine"
    assert not screen_take(seen(running, at=now - 3600))
    assert screen_take(seen(running, at=now))
    assert not screen_take(seen(running, at=now)), "double"
    assert not screen_take(seen(running, at=now - 5)), "late"
    too_long = {
        "version": 3,
        "body": {"host": "rack-1", "machine_id": str(running.pk), "at": now + 1, "png": "A" * 300_000},
    }
    for wrong in (None, {}, too_long):
        screen_task(wrong)
    assert bytes(Screen.objects.get().png) == PNG
    assert MOST_PNG_BYTES < 300_000


def test_a_page_that_shows_the_machine_is_told_of_its_picture(
    running: Machine,
    ann: User,
    asked: object,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    told: list[tuple[Any, ...]] = []
    monkeypatch.setattr(publish, "screen_seen", lambda *words: told.append(words))
    screens_ask(ann, [running.pk])
    picture = seen(running)
    with django_capture_on_commit_callbacks(execute=True):
        assert screen_take(picture)
    assert told == [(running.pk, picture.at)]


def test_a_machine_that_is_deleted_takes_its_picture_with_it(
    running: Machine, ann: User, asked: object
) -> None:
    screens_ask(ann, [running.pk, machine_of(ann, "other").pk])
    running.delete()
    assert not Screen.objects.exists()
