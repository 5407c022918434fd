"""The ticket for a console."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from portal.accounts.signed_in import user_of
from portal.console.services import ticket_issue
from portal.machines.selectors import machine_for
from portal.refusal import Refused


@require_POST
@never_cache
def ticket(request: HttpRequest, machine_id: UUID) -> JsonResponse:
    """A ticket, or 409 with the reason in words."""
    user = user_of(request)
    machine = machine_for(user, machine_id)
    try:
        made = ticket_issue(user=user, session_key=request.session.session_key or "", machine=machine)
    except Refused as refusal:
        return JsonResponse({"message": refusal.message}, status=409)
    return JsonResponse({"ticket": made})
