"""Where a session acts as somebody else: is it still allowed, and is this page among those that stay the person's own?"""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.decorators import sync_only_middleware
from django.utils.translation import gettext as _

from portal.audit.origin import BEHIND
from portal.impersonation.services import administrator_behind, impersonation_end, is_over

Respond = Callable[[HttpRequest], HttpResponse]

STAYS_THEIR_OWN = (
    "/password/",
    "/account/",
    "/notices/choices/",
    "/people/",
    "/admin/",
)
"""What only the person may do: password, second factor, mail address, sessions, choices."""


@sync_only_middleware
def impersonation(get_response: Respond) -> Respond:
    """After Django's authentication; one query more, and only where somebody acts as somebody else."""

    def respond(request: HttpRequest) -> HttpResponse:
        if request.session.session_key is None or BEHIND not in request.session:
            return get_response(request)
        if is_over(request.session) or administrator_behind(request.session) is None:
            by = impersonation_end(request=request)
            if by is not None:
                messages.success(
                    request,
                    _("The hour is over: you are yourself again. What you just asked for was not done."),
                )
            return redirect("home")
        if request.path.startswith(STAYS_THEIR_OWN):
            raise PermissionDenied
        return get_response(request)

    return respond
