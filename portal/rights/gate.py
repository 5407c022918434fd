"""The gate: every request passes it before any view, and portal/rights/table.py says who is let through."""

from __future__ import annotations

from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.shortcuts import render, resolve_url
from django.utils.deprecation import MiddlewareMixin
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.rights.table import Right, right_of
from portal.rights.verdict import Verdict, verdict, why

_READING = ("GET", "HEAD", "OPTIONS")
log = structlog.get_logger()


class Gate(MiddlewareMixin):
    """In the place of Django's LoginRequiredMiddleware: an address that is not in the table is nobody's."""

    def process_view(
        self, request: HttpRequest, view: object, args: tuple[object, ...], named: dict[str, Any]
    ) -> HttpResponse | None:
        """None lets the request through. Raises Http404 where there is nothing for this person."""
        match = request.resolver_match
        right = right_of(match.view_name) if match is not None else None
        if right is None:
            log.error("an address without a row in the table of rights", path=request.path)
            raise Http404
        changes = request.method not in _READING
        user = request.user if isinstance(request.user, User) else AnonymousUser()
        return _answer(request, user, right, verdict(user, right, named, changes=changes), changes=changes)


def _answer(
    request: HttpRequest, user: User | AnonymousUser, right: Right, found: Verdict, *, changes: bool
) -> HttpResponse | None:
    match found:
        case Verdict.WELCOME:
            return None
        case Verdict.SIGN_IN:
            if right.json:
                words = _("You are signed out. Sign in and try again: it goes on where it stopped.")
                return JsonResponse({"message": words}, status=401)
            return redirect_to_login(request.get_full_path(), resolve_url(settings.LOGIN_URL))
        case Verdict.HIDDEN:
            if right.json:
                return JsonResponse({"message": _("It is not there any more.")}, status=404)
            raise Http404
        case Verdict.NOT_FOR_THAT:
            return HttpResponseNotAllowed(["GET", "HEAD"] if changes else ["POST"])
        case Verdict.TOO_LITTLE:
            sentence = why(user, right, changes=changes) if isinstance(user, User) else ""
            if right.json:
                return JsonResponse({"message": str(sentence)}, status=403)
            return render(request, "403.html", {"sentence": sentence}, status=403)
