"""Beginning and ending to act as somebody else. No rules here: parse, call a service, answer."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from portal.accounts.models import User
from portal.accounts.signed_in import user_of
from portal.audit.origin import BEHIND
from portal.impersonation import services
from portal.refusal import Refused


@require_POST
def impersonation_begin(request: HttpRequest, user_id: int) -> HttpResponse:
    """Act as this person."""
    user = user_of(request)
    person = get_object_or_404(User, pk=user_id)
    try:
        services.impersonation_begin(
            request=request, person=person, reason=request.POST.get("reason", ""), by=user
        )
    except Refused as refusal:
        messages.error(request, refusal.message)
        return redirect("audit:person", user_id=user_id)
    return redirect("home")


@require_POST
def impersonation_end(request: HttpRequest) -> HttpResponse:
    """Be oneself again."""
    if BEHIND not in request.session:
        raise Http404
    if services.impersonation_end(request=request) is not None:
        messages.success(request, _("You are yourself again."))
    return redirect("home")
