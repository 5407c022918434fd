"""The outermost middleware: of what changes something one is worked on at a time, and whoever only looks goes first.

Fifty people who press a button together would otherwise share one interpreter with everybody who only looks: each page would
wait for all of them. The database lets one write at a time anyway. Nothing is slower for it: a request has been read whole
before it comes here, so a slow sender keeps nobody waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore, Condition

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_only_middleware

Respond = Callable[[HttpRequest], HttpResponse]
AT_ONCE = 1
PATIENCE_SECONDS = 0.2
"""A page takes less; who looks all the time holds up nobody's change for longer."""


@sync_only_middleware
def few_at_once(get_response: Respond) -> Respond:
    """At most AT_ONCE POSTs go on, each begun when no page is being made; whoever reads never waits."""
    places, readers = BoundedSemaphore(AT_ONCE), _Readers()

    def respond(request: HttpRequest) -> HttpResponse:
        if request.method == "POST":
            with places:
                readers.let_pass()
                return get_response(request)
        if request.method != "GET":  # a piece of a file, say, which takes as long as it takes
            return get_response(request)
        with readers.one_more():
            return get_response(request)

    return respond


class _Readers:
    """How many pages are being made just now."""

    def __init__(self) -> None:
        self._over = Condition()
        self._count = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        with self._over:
            self._count += 1
        try:
            yield
        finally:
            with self._over:
                self._count -= 1
                self._over.notify_all()

    def let_pass(self) -> None:
        """Wait until there is none, or for PATIENCE_SECONDS."""
        with self._over:
            self._over.wait_for(lambda: not self._count, PATIENCE_SECONDS)
