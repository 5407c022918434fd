"""The innermost middleware: it makes Django run all of them, and the view, one after another in one thread.

Every view here is synchronous. Left to itself, Django's ASGI handler takes each middleware as a coroutine that hands its two
halves to a thread, which costs a request more than what most of them do (docs.djangoproject.com: Asynchronous support,
"Async adapter functions … a performance penalty").
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_only_middleware

Respond = Callable[[HttpRequest], HttpResponse]


@sync_only_middleware
def in_one_thread(get_response: Respond) -> Respond:
    """Changes nothing but how it is called."""
    return get_response
