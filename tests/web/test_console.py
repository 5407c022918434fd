"""The console through the real web server and the real gateway, up to a socket that stands where qemu's screen is."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.utils import timezone
from itsdangerous import TimestampSigner
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import unix_connect
from websockets.typing import Subprotocol

from portal.accounts.models import User
from portal.audit.models import Entry
from portal.console.models import ConsoleTicket
from portal.console.services import tickets_clear_expired
from portal.live import publish
from portal.machines.models import Machine
from tests.lab.waiting import wait_for
from tests.web.people import done, host_heard, machine_of, nobody, silence
from tests.web.site import Browser, Screen, Site, code_of, memory_mib, write_until_blocked
from workers.contract.messages import Observed
from workers.contract.tokens import Purpose, issue

pytestmark = pytest.mark.django_db(transaction=True)
SIGN_IN, NO_MACHINE, TICKET_OVER, UNREACHABLE, ENDED = 4401, 4404, 4408, 4503, 4000
MIB = 1024 * 1024


@pytest.fixture
def running(site: Site, ann: User) -> Machine:
    host_heard(gateway=f"unix:{site.gateway_socket}")
    return done(machine_of(ann))


@pytest.fixture
def screen(site: Site, running: Machine) -> Iterator[Screen]:
    with Screen(site, running.pk) as screen:
        yield screen


def read_exactly(source: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length:
        piece = source.recv(65536)
        assert piece, "it ended early"
        found += piece
    return found


def test_the_screens_bytes_arrive_unchanged_in_both_directions(
    running: Machine, screen: Screen, browser: Browser
) -> None:
    down, up = os.urandom(700_001), os.urandom(300_003)
    with browser.console(running, browser.ticket(running)) as console:
        assert console.subprotocol == "binary"
        with screen.looked_at() as machine:
            machine.sendall(b"RFB 003.008\n")
            assert console.recv(timeout=20) == b"RFB 003.008\n"
            for at in range(0, len(up), 7001):
                console.send(up[at : at + 7001])
            assert read_exactly(machine, len(up)) == up
            machine.sendall(down)
            got = b""
            while len(got) < len(down):
                piece = console.recv(timeout=20)
                assert isinstance(piece, bytes)
                got += piece
            assert got == down
            console.send("a text is not for the screen")
            console.send(b"but bytes are")
            assert read_exactly(machine, 13) == b"but bytes are"


def test_closing_the_page_ends_the_machines_side(running: Machine, screen: Screen, browser: Browser) -> None:
    with browser.console(running, browser.ticket(running)):
        machine = screen.looked_at()
    with machine:
        assert machine.recv(1) == b""


def test_opening_and_closing_a_console_are_lines_of_the_activity(
    running: Machine, screen: Screen, browser: Browser, ann: User
) -> None:
    # Of this machine: a console of the test before may be noted as closed only now.
    noted = Entry.objects.filter(action__startswith="console", object_id=str(running.pk))

    def said() -> list[tuple[str, str, str, str]]:
        lines = noted.order_by("id")
        return [(each.action, each.actor_name, each.object_id, each.address) for each in lines]

    opened = ("console_opened", "ann", str(running.pk), "127.0.0.1")
    with browser.console(running, browser.ticket(running)), screen.looked_at():
        wait_for("the line of its opening", lambda: said() == [opened])
    wait_for("the line of its closing", lambda: said() == [opened, ("console_closed", *opened[1:])])
    assert len(set(noted.values_list("session", flat=True))) == 1


Wrong = Callable[[Browser, Machine, Browser], tuple[str, ...]]


def too_late(browser: Browser, machine: Machine, _other: Browser) -> tuple[str, ...]:
    ticket = browser.ticket(machine)
    ConsoleTicket.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    return (ticket,)


def of_another_machine(browser: Browser, machine: Machine, _other: Browser) -> tuple[str, ...]:
    return (browser.ticket(done(machine_of(machine.owner, "other"))),)


def two_at_once(browser: Browser, machine: Machine, _other: Browser) -> tuple[str, ...]:
    return (browser.ticket(machine), browser.ticket(machine))


def of_another_session(_browser: Browser, machine: Machine, other: Browser) -> tuple[str, ...]:
    return (other.ticket(machine),)


WRONG: dict[str, Wrong] = {
    "too late": too_late,
    "of another machine": of_another_machine,
    "of another session of the same person": of_another_session,
    "two at once": two_at_once,
    "forged": lambda *_: ("x" * 43,),
    "none": lambda *_: (),
    "empty": lambda *_: ("",),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_ticket_that_is_not_good_opens_nothing(
    site: Site, running: Machine, screen: Screen, browser: Browser, ann: User, wrong: Wrong
) -> None:
    with (
        Browser(site, ann) as other,
        browser.console(running, *wrong(browser, running, other)) as console,
    ):
        assert code_of(console) == TICKET_OVER
    assert screen.nobody_came()


def test_a_ticket_opens_one_console(running: Machine, screen: Screen, browser: Browser) -> None:
    ticket = browser.ticket(running)
    with browser.console(running, ticket), screen.looked_at(), browser.console(running, ticket) as second:
        assert code_of(second) == TICKET_OVER
        assert screen.nobody_came()


def test_a_ticket_in_a_strangers_hands_is_worth_nothing(
    site: Site, running: Machine, screen: Screen, browser: Browser, ben: User
) -> None:
    with Browser(site, ben) as stranger, Browser(site, None) as outside:
        assert stranger.web.post(f"/console/{running.pk}/ticket/").status_code == 404
        with stranger.console(running, browser.ticket(running)) as console:
            assert code_of(console) == TICKET_OVER
        with outside.console(running, browser.ticket(running)) as console:
            assert code_of(console) == SIGN_IN
    assert screen.nobody_came()


def test_an_administrator_may_look_and_a_person_whose_machine_it_is_no_longer_may_not(
    site: Site, running: Machine, screen: Screen, browser: Browser, ben: User
) -> None:
    User.objects.filter(pk=ben.pk).update(is_staff=True)
    with Browser(site, ben) as boss, boss.console(running, boss.ticket(running)), screen.looked_at():
        pass
    ticket = browser.ticket(running)
    Machine.objects.update(owner=ben)
    with browser.console(running, ticket) as console:
        assert code_of(console) == NO_MACHINE
    assert screen.nobody_came()


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null", None])
def test_a_page_of_another_site_opens_no_console(
    running: Machine, screen: Screen, browser: Browser, origin: str | None
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        browser.console(running, browser.ticket(running), origin=origin)
    assert refused.value.response.status_code == 403
    assert screen.nobody_came()


def test_tickets_are_given_for_a_running_machine_of_a_host_that_was_heard(
    running: Machine, browser: Browser
) -> None:
    silence("rack-1")
    answer = browser.web.post(f"/console/{running.pk}/ticket/")
    assert (answer.status_code, "cannot be reached" in answer.json()["message"]) == (409, True)
    host_heard(gateway=running.host.gateway)
    done(running, Observed.OFF)
    answer = browser.web.post(f"/console/{running.pk}/ticket/")
    assert (answer.status_code, "not running" in answer.json()["message"]) == (409, True)
    assert not ConsoleTicket.objects.exists()


def test_a_ticket_is_kept_as_a_hash_and_cleared_when_it_is_over(running: Machine, browser: Browser) -> None:
    ticket = browser.ticket(running)
    row = ConsoleTicket.objects.get()
    assert ticket not in (row.digest, row.session_digest)
    assert len(ticket) >= 43
    assert timedelta(0) < row.expires_at - timezone.now() <= timedelta(seconds=30)
    assert tickets_clear_expired() == 0
    ConsoleTicket.objects.update(expires_at=timezone.now())
    assert tickets_clear_expired() == 1


def test_signing_out_ends_the_console(running: Machine, screen: Screen, browser: Browser) -> None:
    with browser.console(running, browser.ticket(running)) as console, screen.looked_at() as machine:
        browser.sign_out()
        assert code_of(console) == SIGN_IN
        assert machine.recv(1) == b""


@pytest.mark.parametrize("how", ["it ran out", "the account was switched off"])
def test_a_console_whose_session_is_over_ends_at_the_next_word_and_says_so(
    running: Machine, screen: Screen, browser: Browser, ann: User, how: str
) -> None:
    with browser.console(running, browser.ticket(running)) as console, screen.looked_at() as machine:
        if how == "it ran out":
            Session.objects.update(expire_date=timezone.now())
        else:
            User.objects.filter(pk=ann.pk).update(is_active=False)
        publish.machine_changed(running.pk)
        assert code_of(console) == SIGN_IN
        assert machine.recv(1) == b""


def test_the_console_ends_when_the_machine_is_another_persons(
    running: Machine, screen: Screen, browser: Browser, ben: User
) -> None:
    with browser.console(running, browser.ticket(running)) as console, screen.looked_at() as machine:
        Machine.objects.update(owner=ben)
        publish.machine_changed(running.pk)
        assert code_of(console) == NO_MACHINE
        assert machine.recv(1) == b""


def test_a_report_that_changes_nothing_of_the_right_to_look_leaves_the_console_open(
    running: Machine, screen: Screen, browser: Browser
) -> None:
    with browser.console(running, browser.ticket(running)) as console, screen.looked_at() as machine:
        publish.machine_changed(running.pk)
        machine.sendall(b"still here")
        assert console.recv(timeout=20) == b"still here"


def test_the_console_ends_with_the_machine_and_opens_again_with_a_new_ticket(
    running: Machine, screen: Screen, browser: Browser
) -> None:
    for _start in range(2):
        with browser.console(running, browser.ticket(running)) as console:
            screen.looked_at().close()
            assert code_of(console) == ENDED


def test_a_host_that_is_not_reached_is_said_with_a_code_of_its_own(
    running: Machine, browser: Browser
) -> None:
    host_heard(gateway="unix:/nowhere/gateway.sock")
    with browser.console(running, browser.ticket(running)) as console:
        assert code_of(console) == UNREACHABLE


def test_a_browser_that_reads_nothing_stops_the_machines_side_and_fills_no_memory(
    site: Site, running: Machine, screen: Screen, browser: Browser
) -> None:
    with browser.unread_console(running) as unread, screen.looked_at() as machine:
        before = memory_mib(site.portal.pid), memory_mib(site.gateway.pid)
        written = write_until_blocked(machine, bytes(MIB), most=200 * MIB)
        grown = memory_mib(site.portal.pid) - before[0], memory_mib(site.gateway.pid) - before[1]
        print(f"taken {written / MIB:.1f} MiB, portal and gateway grew by {grown} MiB")
        assert written < 64 * MIB
        assert max(grown) < 32
        arrived = 0
        while arrived < written:  # it goes on where it stopped, and nothing was lost
            arrived += len(unread.recv(MIB))
        machine.setblocking(True)
        machine.sendall(b"x" * 1000)
        assert unread.recv(1)


def test_a_machine_that_takes_nothing_stops_the_browsers_side_and_fills_no_memory(
    site: Site, running: Machine, screen: Screen, browser: Browser
) -> None:
    # A binary frame of 64 KiB (RFC 6455, 5.2), masked with zeros, which change nothing.
    frame = b"\x82\xff" + (65536).to_bytes(8, "big") + bytes(4) + b"y" * 65536
    with browser.unread_console(running) as unread, screen.looked_at() as machine:
        before = memory_mib(site.portal.pid), memory_mib(site.gateway.pid)
        written = write_until_blocked(unread, frame, most=200 * MIB)
        grown = memory_mib(site.portal.pid) - before[0], memory_mib(site.gateway.pid) - before[1]
        print(f"taken {written / MIB:.1f} MiB, portal and gateway grew by {grown} MiB")
        assert written < 64 * MIB
        assert max(grown) < 32
        whole = written // len(frame) * 65536
        assert read_exactly(machine, whole).strip(b"y") == b""


def gateway_lets_in(site: Site, headers: dict[str, str]) -> bool:
    """Whether the gateway relays for somebody who shows these headers."""
    try:
        with unix_connect(
            str(site.gateway_socket),
            uri="ws://gateway/",
            additional_headers=headers,
            subprotocols=[Subprotocol("binary")],
            compression=None,
        ) as asked:
            return asked.recv(timeout=20) == b"RFB"
    except (ConnectionClosed, InvalidHandshake, EOFError, OSError):
        return False


def bearer(machine_id: UUID | str, purpose: Purpose = Purpose.CONSOLE, key: str = "") -> dict[str, str]:
    token = issue(key=key or settings.FLEET_KEY, purpose=purpose, subject=str(machine_id))
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    "wrong", ["none", "scheme", "key", "purpose", "age", "machine", "path", "changed", "address"]
)
def test_the_gateway_turns_away_whoever_the_portal_did_not_send(
    site: Site, running: Machine, screen: Screen, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    good = bearer(running.pk)
    headers = {
        "none": {},
        "scheme": {"Authorization": good["Authorization"].replace("Bearer", "Basic")},
        "key": bearer(running.pk, key="another fleet's"),
        "purpose": bearer(running.pk, Purpose.IMAGE),
        "machine": bearer(nobody()),
        "path": bearer(f"../machines/{running.pk}"),
        "changed": {"Authorization": good["Authorization"][:-1] + "~"},
    }.get(wrong, good)
    if wrong == "age":
        with monkeypatch.context() as patch:
            now = TimestampSigner("x").get_timestamp()
            patch.setattr(TimestampSigner, "get_timestamp", lambda _self: now - 31)
            headers = bearer(running.pk)
    if wrong == "address":  # only the header counts, since addresses get logged
        token = good["Authorization"].removeprefix("Bearer ")
        with pytest.raises((InvalidHandshake, EOFError, OSError)):
            unix_connect(str(site.gateway_socket), uri=f"ws://gateway/?token={token}")
    else:
        assert not gateway_lets_in(site, headers)
    assert screen.nobody_came()


def test_the_gateway_runs_as_the_machines_account_and_listens_on_no_port(site: Site) -> None:
    status = wait_for("the gateway gave up root", lambda: _status_without_root(site.gateway.pid))
    assert "\nGroups:\t \n" in status or "\nGroups:\t\n" in status
    tcp = Path("/proc/net/tcp").read_text().splitlines() + Path("/proc/net/tcp6").read_text().splitlines()
    ports = {f"socket:[{line.split()[9]}]" for line in tcp if ":" in line}
    held = {str(each.readlink()) for each in Path(f"/proc/{site.gateway.pid}/fd").iterdir()}
    assert any(each.startswith("socket:") for each in held)
    assert not ports & held


def _status_without_root(pid: int) -> str:
    status = Path(f"/proc/{pid}/status").read_text()
    return status if "\nUid:\t0\t" not in status else ""
