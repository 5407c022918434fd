"""Work that many ask for at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from tests.lab.waiting import wait_for
from workers.host.gathered import Gathered

ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))


class Desk:
    """Work that takes until it is let go on: one at it, and others who come meanwhile."""

    def __init__(self, act: Callable[[int], None] = lambda _turn: None) -> None:
        self.turns: list[frozenset[UUID]] = []
        self._gathered, self._goes_on, self._act = Gathered(), threading.Event(), act

    def _work(self, all_of_them: frozenset[UUID]) -> None:
        self.turns.append(all_of_them)
        self._goes_on.wait(10)
        self._act(len(self.turns))

    def ends(self, first: UUID, *meanwhile: UUID) -> list[BaseException | None]:
        """How it ended for each."""
        with ThreadPoolExecutor(1 + len(meanwhile)) as people:
            asked = [people.submit(self._gathered.do, frozenset({first}), self._work)]
            wait_for("the first is at work", lambda: self.turns)
            asked += [people.submit(self._gathered.do, frozenset({each}), self._work) for each in meanwhile]
            wait_for("the others wait", lambda: len(self._gathered._asked) == len(asked))
            self._goes_on.set()
            return [each.exception(10) for each in asked]


def test_those_who_come_while_it_is_done_are_served_together_by_the_next() -> None:
    desk = Desk()
    assert desk.ends(ONE, TWO, THREE) == [None] * 3
    assert desk.turns == [{ONE}, {TWO, THREE}]


def test_who_comes_late_is_never_served_by_what_began_before() -> None:
    desk = Desk()
    assert desk.ends(ONE, ONE) == [None] * 2
    assert desk.turns == [{ONE}, {ONE}]


def test_a_failure_is_told_to_who_did_it_and_the_others_try_themselves() -> None:
    def refuse_the_second(turn: int) -> None:
        if turn == 2:
            raise OSError("refused")

    desk = Desk(refuse_the_second)
    first, *others = desk.ends(ONE, TWO, THREE)
    assert first is None
    assert sorted(str(end) for end in others if end) == ["refused"]
    assert len(desk.turns) == 3
    assert len(desk.turns[2]) == 1


def test_a_failure_leaves_nothing_behind() -> None:
    gathered = Gathered()

    def fails(_all: frozenset[UUID]) -> None:
        raise OSError

    with pytest.raises(OSError):
        gathered.do(frozenset({ONE}), fails)
    seen: list[frozenset[UUID]] = []
    gathered.do(frozenset({TWO}), seen.append)
    assert seen == [{TWO}]
