"""What is done in a request is written down with where the request came from."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_only_middleware

from portal.audit.origin import coming_from, of_request

Respond = Callable[[HttpRequest], HttpResponse]


@sync_only_middleware
def origin_of_requests(get_response: Respond) -> Respond:
    """After sessions and impersonation; makes no query that others would not make."""

    def respond(request: HttpRequest) -> HttpResponse:
        with coming_from(of_request(request)):
            return get_response(request)

    return respond
