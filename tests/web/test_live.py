"""The socket behind a page that changes by itself: who is told what, through the real web server and a real Redis."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
import redis
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from portal.accounts.models import User
from portal.fleet.models import Host
from portal.fleet.services import heartbeat_take, silence_notice
from portal.live import publish
from portal.live.consumers import LiveConsumer
from portal.machines import services
from portal.machines.models import Machine
from portal.machines.reports import observed_take, progress_take
from portal.screens.services import screen_take
from tests.lab.waiting import wait_for
from tests.web.people import done, heartbeat, host_heard, machine_of, newest, nobody, seen, silence, told
from tests.web.site import Browser, Site, code_of
from workers.contract.messages import Observed, OperationState
from workers.contract.screens import ScreenSeen
from workers.plan.pictures import small_png

pytestmark = pytest.mark.django_db(transaction=True)
SIGN_IN = 4401


@pytest.fixture
def rack(site: Site) -> Host:
    return host_heard()


@pytest.fixture
def running(rack: Host, ann: User) -> Machine:
    return done(machine_of(ann))


def page(browser: Browser) -> ClientConnection:
    return browser.socket("/ws/live/")


def watch(opened: ClientConnection, *topics: Any) -> None:
    opened.send(json.dumps({"watch": topics}))
    assert heard(opened) == {"watching": True}


def heard(opened: ClientConnection) -> Any:
    return json.loads(opened.recv(timeout=20))


def hears_nothing_but_its_own(opened: ClientConnection) -> None:
    """Messages keep their order: whatever was published before would stand here too."""
    watch(opened, "library")
    publish.library_changed()
    assert heard(opened) == {"changed": ["library"]}


def test_the_owners_page_is_told_of_each_report(running: Machine, browser: Browser) -> None:
    topic = f"machine:{running.pk}"
    with page(browser) as opened:
        watch(opened, topic)
        assert observed_take(seen(running, Observed.PAUSED))
        assert heard(opened) == {"changed": [topic]}
        services.machine_force_off(machine=running, by=running.owner)
        assert heard(opened) == {"changed": [topic]}
        assert progress_take(told(newest(running), OperationState.RUNNING))
        assert heard(opened) == {"changed": [topic]}


def test_a_report_without_news_wakes_no_page(running: Machine, browser: Browser) -> None:
    with page(browser) as opened:
        watch(opened, f"machine:{running.pk}", "machines")
        assert observed_take(seen(running))
        hears_nothing_but_its_own(opened)


def test_the_list_is_told_of_its_owners_machines(
    running: Machine, site: Site, browser: Browser, ben: User
) -> None:
    with Browser(site, ben) as stranger, page(browser) as mine, page(stranger) as theirs:
        watch(mine, "machines")
        watch(theirs, "machines")
        observed_take(seen(running, Observed.PAUSED))
        assert heard(mine) == {"changed": ["machines"]}
        hears_nothing_but_its_own(theirs)
        machine_of(ben, "another")
        assert heard(theirs) == {"changed": ["machines"]}
        hears_nothing_but_its_own(mine)


def test_an_administrators_list_is_told_of_all_machines_and_hosts(
    running: Machine, site: Site, ben: User
) -> None:
    User.objects.filter(pk=ben.pk).update(is_staff=True)
    with Browser(site, ben) as boss, page(boss) as opened:
        watch(opened, "machines", "fleet")
        observed_take(seen(running, Observed.PAUSED))
        assert heard(opened) == {"changed": ["machines"]}
        silence("rack-1")
        assert silence_notice() == ["rack-1"]
        changed: set[str] = set()
        while "fleet" not in changed:
            changed |= set(heard(opened)["changed"])


def test_what_is_anothers_is_not_watched(running: Machine, site: Site, ben: User) -> None:
    with Browser(site, ben) as stranger, page(stranger) as opened:
        watch(opened, f"machine:{running.pk}", f"machine:{nobody()}", "fleet", "staff", "machine:x", 7, None)
        observed_take(seen(running, Observed.PAUSED))
        heartbeat_take(heartbeat(memory_free_mib=1))
        publish.fleet_changed()
        hears_nothing_but_its_own(opened)


def test_a_silent_host_is_told_to_the_pages_of_its_machines(running: Machine, browser: Browser) -> None:
    with page(browser) as opened:
        watch(opened, f"machine:{running.pk}")
        silence("rack-1")
        silence_notice()
        assert heard(opened) == {"changed": [f"machine:{running.pk}"]}
        heartbeat_take(heartbeat())
        assert heard(opened) == {"changed": [f"machine:{running.pk}"]}


def test_the_library_is_told_to_everybody(site: Site, ben: User) -> None:
    with Browser(site, ben) as stranger, page(stranger) as opened:
        watch(opened, "library")
        publish.library_changed()
        assert heard(opened) == {"changed": ["library"]}


def test_a_burst_of_reports_is_few_messages_and_the_last_of_them_is_not_lost(
    running: Machine, browser: Browser
) -> None:
    topic = f"machine:{running.pk}"
    with page(browser) as opened:
        watch(opened, topic)
        for number in range(40):
            observed_take(seen(running, (Observed.PAUSED, Observed.RUNNING)[number % 2]))
        opened.send(json.dumps({"watch": ["library"]}))
        messages = 0
        while True:
            message = heard(opened)
            messages += "changed" in message
            if "watching" in message:  # from here on it hears of it
                publish.library_changed()
            if "library" in message.get("changed", ()):
                break
        assert messages <= 20


def test_who_is_not_signed_in_is_told_so_and_hears_nothing(running: Machine, site: Site) -> None:
    with Browser(site, None) as outside, page(outside) as opened:
        publish.library_changed()
        publish.machine_changed(running.pk)
        with pytest.raises(ConnectionClosed) as closed:
            heard(opened)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == SIGN_IN


def test_signing_out_closes_every_page_of_that_session_and_of_no_other(
    site: Site, ann: User, browser: Browser
) -> None:
    with (
        Browser(site, ann) as elsewhere,
        page(elsewhere) as other,
        page(browser) as one,
        page(browser) as two,
    ):
        for opened in (other, one, two):
            watch(opened, "library")
        browser.sign_out()
        assert [code_of(one), code_of(two)] == [SIGN_IN, SIGN_IN]
        publish.library_changed()
        assert heard(other) == {"changed": ["library"]}


@pytest.mark.parametrize("origin", ["https://evil.example", None])
def test_a_page_of_another_site_hears_nothing(browser: Browser, origin: str | None) -> None:
    with pytest.raises(InvalidStatus) as refused, browser.socket("/ws/live/", origin=origin):
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.asyncio
async def test_what_changes_while_a_message_is_on_its_way_is_told_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told_to_the_page = []
    consumer = LiveConsumer()
    consumer.changed, consumer.flushing = set(), None

    async def send(content: dict[str, list[str]]) -> None:
        told_to_the_page.append(content["changed"])
        if len(told_to_the_page) < 3:
            await consumer.page_changed({"topic": f"topic {len(told_to_the_page)}"})

    monkeypatch.setattr(consumer, "send_json", send)
    await consumer.page_changed({"topic": "topic 0"})
    assert consumer.flushing is not None
    await consumer.flushing
    assert told_to_the_page == [["topic 0"], ["topic 1"], ["topic 2"]]


def test_what_a_command_says_as_it_ends_is_heard(site: Site, browser: Browser) -> None:
    with page(browser) as opened:
        watch(opened, "library")
        site.command("from portal.live import publish; publish.library_changed()")
        assert heard(opened) == {"changed": ["library"]}


@pytest.mark.parametrize(
    "odd",
    ["no json", "[]", "7", "null", '{"watch": "library"}', '{"watch": {"a": 1}}', b"\x00\xff", b"{}"],
    ids=repr,
)
def test_odd_messages_change_nothing(site: Site, browser: Browser, odd: str | bytes) -> None:
    with page(browser) as opened:
        opened.send(odd)
        watch(opened, "library")
        publish.library_changed()
        assert heard(opened) == {"changed": ["library"]}


def test_a_page_that_is_looked_at_has_the_host_asked_for_pictures_and_is_told_when_they_come(
    running: Machine, browser: Browser, site: Site, ben: User
) -> None:
    queue = redis.Redis(unix_socket_path=str(site.broker.socket))
    queue.delete("host.rack-1")
    with page(browser) as opened, Browser(site, ben) as strangers, page(strangers) as others:
        watch(others, f"machine:{running.pk}", "library")
        for odd in (None, "x", [7, "x", None], [str(running.pk)]):
            others.send(json.dumps({"screens": odd}))
        hears_nothing_but_its_own(others)
        assert queue.llen("host.rack-1") == 0
        watch(opened, "machines")
        for _ in range(3):
            opened.send(json.dumps({"screens": [str(running.pk), str(nobody()), 7]}))
        wait_for("the host is asked", lambda: queue.llen("host.rack-1"), seconds=20)
        now = int(time.time())
        picture = base64.b64encode(small_png(b"P6\n1 1\n255\nxxx") or b"").decode()
        assert screen_take(ScreenSeen(host="rack-1", machine_id=running.pk, at=now, png=picture))
        assert heard(opened) == {"screen": str(running.pk), "at": str(now)}
        hears_nothing_but_its_own(others)
    assert queue.llen("host.rack-1") == 1
    [message] = queue.lrange("host.rack-1", 0, -1)
    sent = json.loads(message)
    assert sent["headers"]["task"] == "offshoot.look_at_screens"
    assert sent["headers"]["expires"] is not None
    assert json.loads(base64.b64decode(sent["body"]))[0][0]["body"] == {"machines": [str(running.pk)]}
    queue.close()
