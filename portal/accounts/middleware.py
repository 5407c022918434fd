"""Nobody signs in while wrong passwords cannot be counted."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.decorators import sync_only_middleware
from redis.exceptions import RedisError

log = structlog.get_logger()


@sync_only_middleware
class CountsOutOfReach:
    """503 in words where Redis, which keeps the counts, does not answer; who is signed in already goes on."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Nothing unless a view fails."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Only Redis' own errors; everything else that needs it bears its absence by itself."""
        if not isinstance(exception, RedisError):
            return None
        log.error("wrong passwords cannot be counted", error=str(exception))
        return render(request, "account/closed.html", status=503)
