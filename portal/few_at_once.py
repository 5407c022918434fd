"""The outermost middleware: of what changes something only few are worked on at once; the others wait without a processor's time.

Fifty people who press a button together would otherwise share one interpreter with everybody who only looks: each page would
wait for all of them. The database lets one write at a time anyway. Nothing is slower for it: a request has been read whole
before it comes here, so a slow sender keeps nobody waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import BoundedSemaphore

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_only_middleware

Respond = Callable[[HttpRequest], HttpResponse]
AT_ONCE = 2


@sync_only_middleware
def few_at_once(get_response: Respond) -> Respond:
    """At most AT_ONCE POSTs go on; whoever reads never waits."""
    places = BoundedSemaphore(AT_ONCE)

    def respond(request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            return get_response(request)
        with places:
            return get_response(request)

    return respond
