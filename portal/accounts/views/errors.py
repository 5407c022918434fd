"""The pages for what is not there or went wrong."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import get_template


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403."""
    return render(request, "403.html", status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404, also for what belongs to somebody else."""
    return render(request, "404.html", status=404)


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 for a form whose protection against forgery is out of date."""
    return render(request, "403.html", {"stale": True}, status=403)


def server_error(request: HttpRequest) -> HttpResponse:
    """500; drawn without the database, which may be what failed."""
    return HttpResponse(get_template("500.html").render({}), status=500)
