"""Web hooks against a web server of the test's own: signed, tried again, switched off, and never sent where they must not go."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.conf import LazySettings
from django.utils import timezone

from portal.accounts.models import User
from portal.audit.models import Entry
from portal.hooks import delivering, sending, services
from portal.hooks.models import Delivery, Hook
from portal.hooks.services import HookWish
from portal.notices.models import Notice
from portal.notices.services import tell
from portal.refusal import Refused
from tests.web.people import signed_in


class Receiver:
    """Answers with `status`, or as `act` says; keeps what came."""

    def __init__(self) -> None:
        self.came: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        self.act: Callable[[socket.socket], None] | None = None
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.came.append((dict(self.headers), body))
                if receiver.act is not None:
                    with suppress(OSError):
                        receiver.act(self.connection)
                    self.close_connection = True
                    return
                self.send_response(receiver.status)
                self.send_header("Location", receiver.address + "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()
    thread.join()


@pytest.fixture
def receiver(settings: LazySettings) -> Iterator[Receiver]:
    settings.LOCAL_HOOKS = True
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def hook(receiver: Receiver, boss: User) -> Hook:
    wish = HookWish("chat", f"{receiver.address}/hook?x=1", ("machine_crashed",))
    return services.hook_create(wish=wish, by=boss)


def crash(ann: User) -> Delivery:
    tell([ann], "machine_crashed", link="/machines/1/", machine="web")
    return Delivery.objects.order_by("-at")[0]


def due_now() -> None:
    Delivery.objects.update(next_at=timezone.now() - timedelta(seconds=1))


def test_a_hook_is_told_what_it_wants_signed_with_its_secret(
    hook: Hook, receiver: Receiver, ann: User
) -> None:
    tell([ann], "machine_ended", machine="web")
    delivery = crash(ann)
    assert delivering.deliver(hook.pk) == 1
    ((headers, body),) = receiver.came
    said = json.loads(body)
    assert (said["kind"], said["people"], said["values"]["machine"]) == ("machine_crashed", ["ann"], "web")
    assert said["id"] == headers["Offshoot-Delivery"] == str(delivery.pk)
    assert said["link"].endswith("/machines/1/")
    signed = headers["Offshoot-Timestamp"].encode() + b"." + body
    expected = hmac.new(hook.secret.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["Offshoot-Signature"] == f"sha256={expected}"
    assert headers["Host"] == receiver.address.removeprefix("http://")
    delivery.refresh_from_db()
    assert (delivery.status, delivery.done_at is not None) == (200, True)
    assert delivering.deliver(hook.pk) == 0


@pytest.mark.parametrize(
    ("status", "words"), [(500, "it answered 500"), (302, "redirects are not followed"), (404, "404")]
)
def test_what_is_not_taken_is_tried_again_later(
    hook: Hook, receiver: Receiver, ann: User, status: int, words: str
) -> None:
    delivery = crash(ann)
    receiver.status = status
    assert delivering.deliver(hook.pk) == 0
    assert delivering.deliver(hook.pk) == 0
    assert len(receiver.came) == 1  # no redirect was followed, and not at once again
    delivery.refresh_from_db()
    assert (delivery.status, words in delivery.problem, delivery.waits) == (status, True, True)
    receiver.status = 204
    due_now()
    assert delivering.deliver(hook.pk) == 1
    hook.refresh_from_db()
    assert hook.failures == 0


def _breaks(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def _hangs(connection: socket.socket) -> None:
    connection.recv(1)  # until the other side has had enough


def _drips(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    connection.settimeout(0.1)
    while True:
        connection.sendall(b"X-More: a\r\n")
        with suppress(TimeoutError):
            if not connection.recv(1):
                return


def _babbles(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 99999999999\r\n\r\n")
    while True:
        connection.sendall(b"a" * 65536)


def _talks_nonsense(connection: socket.socket) -> None:
    connection.sendall(b"\x00\xff nonsense\r\n\r\n")


@pytest.mark.parametrize("act", [_breaks, _hangs, _drips, _babbles, _talks_nonsense])
def test_a_receiver_that_misbehaves_costs_seconds_and_no_more(
    hook: Hook,
    receiver: Receiver,
    ann: User,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[socket.socket], None],
) -> None:
    monkeypatch.setattr(sending, "SECONDS", 1.0)
    receiver.act = act
    delivery = crash(ann)
    before = timezone.now()
    assert delivering.deliver(hook.pk) == 0
    assert timezone.now() - before < timedelta(seconds=8)
    delivery.refresh_from_db()
    assert delivery.problem
    assert delivery.waits


def test_after_twenty_failures_in_a_row_it_is_switched_off_and_administrators_hear_of_it(
    hook: Hook, receiver: Receiver, ann: User, boss: User
) -> None:
    receiver.status = 500
    for _message in range(3):
        crash(ann)
    for _try in range(25):
        due_now()
        delivering.deliver(hook.pk)
    hook.refresh_from_db()
    assert (hook.is_on, hook.failures, len(receiver.came)) == (False, 20, 20)
    assert not Delivery.objects.filter(done_at=None, given_up_at=None).exists()
    (notice,) = Notice.objects.filter(kind="hook_switched_off")
    assert (notice.person, "“chat” failed 20 times" in notice.text) == (boss, True)
    before = Delivery.objects.count()
    crash(ann)
    assert Delivery.objects.count() == before
    services.hook_change(hook=hook, wish=HookWish("chat", hook.address, ("machine_crashed",)), by=boss)
    receiver.status = 200
    crash(ann)
    assert delivering.deliver(hook.pk) == 1


def test_one_message_is_given_up_after_eight_tries(hook: Hook, receiver: Receiver, ann: User) -> None:
    receiver.status = 500
    delivery = crash(ann)
    for _try in range(12):
        due_now()
        delivering.deliver(hook.pk)
    delivery.refresh_from_db()
    assert (delivery.tries, delivery.given_up_at is not None) == (8, True)


def test_a_test_is_sent_also_to_one_that_is_off_and_counts_for_nothing(
    hook: Hook, receiver: Receiver, boss: User
) -> None:
    Hook.objects.update(is_on=False)
    browser = signed_in(boss)
    assert browser.post(f"/hooks/{hook.pk}/test/").status_code == 302
    receiver.status = 500
    delivering.deliver(hook.pk)
    assert json.loads(receiver.came[0][1])["kind"] == "test"
    page = browser.get(f"/hooks/{hook.pk}/").content.decode()
    assert "it answered 500" in page
    hook.refresh_from_db()
    assert hook.failures == 0


@pytest.mark.parametrize("host", [
    "127.0.0.1", "localhost", "[::1]", "0.0.0.0", "169.254.169.254", "[fe80::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433",
    "[::]", "224.0.0.1",
])  # fmt: skip
def test_nothing_is_sent_to_the_sites_own_host_or_its_cable(host: str) -> None:
    with receiving() as receiver:
        port = receiver.address.rsplit(":", 1)[1]
        answer = sending.send(f"http://{host}:{port}/", body="{}", secret="s", delivery="1", kind="test")
        assert not answer.is_taken
        assert answer.status is None
        assert receiver.came == []


def test_what_is_sent_goes_to_the_address_that_was_looked_at(
    receiver: Receiver, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that means a public address when it is looked at, and this very host a moment later."""
    settings.LOCAL_HOOKS = False
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: Any, *args: Any, **words: Any) -> Any:
        asked.append(str(host))
        return real("203.0.113.7" if len(asked) == 1 else "127.0.0.1", *args, **words)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(sending, "SECONDS", 0.5)
    port = receiver.address.rsplit(":", 1)[1]
    answer = sending.send(f"http://rebinds.example:{port}/", body="{}", secret="s", delivery="1", kind="test")
    assert not answer.is_taken
    assert receiver.came == []
    assert asked.count("rebinds.example") == 1


@pytest.mark.parametrize("address", [
    "unix:/run/docker.sock", "file:///etc/passwd", "http+unix://%2Frun",
    "ftp://example.org/", "http://", "http://user:pw@example.org/",
    "http://example.org/#x", "http://example.org:99999/", "http://exa mple.org/",
    "http://example.org/\r\nX: y", "//example.org", "",
])  # fmt: skip
def test_an_address_that_is_none_of_the_web_is_refused(boss: User, address: str) -> None:
    with pytest.raises(Refused):
        services.hook_create(wish=HookWish("chat", address, ("machine_ended",)), by=boss)
    assert not Hook.objects.exists()


def test_administrators_make_change_and_delete_them_and_each_is_a_line(
    receiver: Receiver, boss: User, ben: User
) -> None:
    browser = signed_in(boss)
    fields = {"name": "chat", "address": receiver.address, "kinds": ["machine_ended"], "is_on": "on"}
    assert browser.post("/hooks/new/", fields | {"kinds": ["nonsense"]}).status_code == 422
    assert browser.post("/hooks/new/", fields).status_code == 302
    assert "name already" in browser.post("/hooks/new/", fields).content.decode()
    hook = Hook.objects.get()
    before = hook.secret
    assert browser.post(f"/hooks/{hook.pk}/", fields | {"name": "tickets"}).status_code == 302
    browser.post(f"/hooks/{hook.pk}/secret/")
    hook.refresh_from_db()
    assert (hook.name, hook.secret != before) == ("tickets", True)
    browser.post(f"/hooks/{hook.pk}/delete/")
    assert not Hook.objects.exists()
    said = [line.details["what"] for line in Entry.objects.filter(action="hook_changed").order_by("id")]
    assert said == ["made", "changed", "new secret", "deleted"]
    assert before not in "".join(Entry.objects.values_list("details_json", flat=True))
