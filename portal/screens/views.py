"""The picture of a machine's screen, for whoever sees the machine."""

from __future__ import annotations

import time
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from portal.accounts.signed_in import user_of
from portal.machines import selectors
from portal.screens.models import Screen
from workers.contract.messages import Observed


@require_safe
def machine_screen(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """The newest picture; a machine that is off has none."""
    machine = selectors.machine_for(user_of(request), machine_id)
    if machine.observed not in (Observed.RUNNING, Observed.PAUSED):
        raise Http404
    fresh = int(time.time()) - selectors.PICTURE_SECONDS
    screen = Screen.objects.filter(machine=machine, taken_at__gte=fresh).first()
    if screen is None:
        raise Http404
    answer = HttpResponse(bytes(screen.png), content_type="image/png")
    answer["Cache-Control"] = "private, max-age=60"
    return answer
