"""Who waits for whom in the web server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from django.http import HttpRequest, HttpResponse

from portal import few_at_once
from portal.few_at_once import AT_ONCE
from tests.lab.waiting import wait_for


class Desk:
    """A view that says who is in it, and lets nobody out before it is told to."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.out = {method: threading.Event() for method in ("GET", "POST", "PATCH")}
        self.people = ThreadPoolExecutor(10)
        self._respond = few_at_once.few_at_once(self._view)

    def _view(self, request: HttpRequest) -> HttpResponse:
        assert request.method is not None
        self.inside.append(request.method)
        self.out[request.method].wait(20)
        return HttpResponse()

    def comes(self, method: str) -> Future[HttpResponse]:
        request = HttpRequest()
        request.method = method
        return self.people.submit(self._respond, request)

    def close(self) -> None:
        for each in self.out.values():
            each.set()
        self.people.shutdown()


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(few_at_once, "PATIENCE_SECONDS", 10)
    desk = Desk()
    yield desk
    desk.close()


def test_of_many_who_change_something_few_are_worked_on_and_who_looks_does_not_wait(desk: Desk) -> None:
    changes = [desk.comes("POST") for _ in range(5)]
    wait_for("one is in", lambda: desk.inside)
    desk.out["GET"].set()
    assert desk.comes("GET").result(5).status_code == 200
    assert desk.inside.count("POST") == AT_ONCE
    desk.out["POST"].set()
    assert [each.result(5).status_code for each in changes] == [200] * 5


def test_a_change_begins_when_no_page_is_being_made(desk: Desk) -> None:
    page = desk.comes("GET")
    wait_for("the page is being made", lambda: desk.inside)
    change = desk.comes("POST")
    desk.out["POST"].set()
    with pytest.raises(TimeoutError):
        change.result(0.3)
    desk.out["GET"].set()
    assert page.result(5).status_code == 200
    assert change.result(5).status_code == 200
    assert desk.inside == ["GET", "POST"]


def test_who_looks_all_the_time_keeps_nobody_from_changing_something(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few_at_once, "PATIENCE_SECONDS", 0.01)
    desk.comes("GET")
    wait_for("the page is being made", lambda: desk.inside)
    desk.out["POST"].set()
    assert desk.comes("POST").result(5).status_code == 200


def test_a_file_that_is_being_sent_holds_up_nobodys_change(desk: Desk) -> None:
    desk.comes("PATCH")
    wait_for("a piece of a file is taken", lambda: desk.inside)
    desk.out["POST"].set()
    assert desk.comes("POST").result(5).status_code == 200
