"""Work that many ask for at the same moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from tests.lab.waiting import wait_for
from workers.host.gathered import Gathered

ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))


def test_those_who_come_while_it_is_done_are_served_together_by_the_next() -> None:
    gathered, goes_on, done = Gathered(), threading.Event(), []

    def act(all_of_them: frozenset[UUID]) -> None:
        done.append(all_of_them)
        goes_on.wait(10)

    with ThreadPoolExecutor(3) as people:
        first = people.submit(gathered.do, frozenset({ONE}), act)
        wait_for("the first is at work", lambda: done)
        others = [people.submit(gathered.do, frozenset({each}), act) for each in (TWO, THREE)]
        wait_for("the others wait", lambda: len(gathered._asked) == 3)
        goes_on.set()
        for each in (first, *others):
            each.result(10)
    assert done == [{ONE}, {TWO, THREE}]


def test_who_comes_late_is_never_served_by_what_began_before() -> None:
    gathered, goes_on, done = Gathered(), threading.Event(), []

    def slow(all_of_them: frozenset[UUID]) -> None:
        done.append(all_of_them)
        goes_on.wait(10)

    with ThreadPoolExecutor(2) as people:
        first = people.submit(gathered.do, frozenset({ONE}), slow)
        wait_for("the first is at work", lambda: done)
        second = people.submit(gathered.do, frozenset({ONE}), slow)
        wait_for("the second waits", lambda: len(gathered._asked) == 2)
        goes_on.set()
        first.result(10)
        second.result(10)
    assert done == [{ONE}, {ONE}]


def test_a_failure_is_told_to_who_did_it_and_the_others_try_themselves() -> None:
    gathered, goes_on, tries = Gathered(), threading.Event(), []

    def act(all_of_them: frozenset[UUID]) -> None:
        tries.append(all_of_them)
        goes_on.wait(10)
        if len(tries) == 2:
            raise OSError("refused")

    with ThreadPoolExecutor(3) as people:
        first = people.submit(gathered.do, frozenset({ONE}), act)
        wait_for("the first is at work", lambda: tries)
        others = [people.submit(gathered.do, frozenset({each}), act) for each in (TWO, THREE)]
        wait_for("the others wait", lambda: len(gathered._asked) == 3)
        goes_on.set()
        first.result(10)
        ends = [each.exception(10) for each in others]
    assert sorted(str(end) for end in ends if end) == ["refused"]
    assert len(tries) == 3
    assert len(tries[2]) == 1


def test_a_failure_leaves_nothing_behind() -> None:
    gathered = Gathered()

    def fails(_all: frozenset[UUID]) -> None:
        raise OSError

    with pytest.raises(OSError):
        gathered.do(frozenset({ONE}), fails)
    seen: list[frozenset[UUID]] = []
    gathered.do(frozenset({TWO}), seen.append)
    assert seen == [{TWO}]
