"""What many ask for at the same moment, done once for all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from uuid import UUID


class Gathered:
    """Those who come while somebody's work is being done wait for it, and are then all served by the next one's."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._asked: dict[object, frozenset[UUID]] = {}

    def do(self, mine: frozenset[UUID], act: Callable[[frozenset[UUID]], None]) -> None:
        """Return when `act` has been called, here or by another thread, with at least `mine`, begun after this call.

        Where it fails, whoever called it is told so; each of the others tries it anew and hears of its own.
        """
        ticket = object()
        with self._guard:
            self._asked[ticket] = mine
        with self._turn:
            with self._guard:
                served = dict(self._asked)
            if ticket not in served:
                return
            try:
                act(frozenset().union(*served.values()))
            except BaseException:
                served = {ticket: mine}
                raise
            finally:
                with self._guard:
                    for each in served:
                        del self._asked[each]
