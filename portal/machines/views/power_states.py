"""The buttons of standing still and going on, and the choice for the host's reboot. Everything here is a POST."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from portal.accounts.models import User
from portal.activity.models import Operation
from portal.machines import power
from portal.machines.forms import AutostartForm
from portal.machines.models import Machine
from portal.machines.views.acting import act
from portal.refusal import Refused
from workers.contract.spec import Autostart


@require_POST
def machine_pause(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Let it stand still."""
    return act(request, machine_id, power.machine_pause)


@require_POST
def machine_resume(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Let it go on."""
    return act(request, machine_id, power.machine_resume)


@require_POST
def machine_reset(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Press its reset button."""
    return act(request, machine_id, power.machine_reset)


@require_POST
def machine_hibernate(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Save its memory and end it."""
    return act(request, machine_id, power.machine_hibernate)


@require_POST
def machine_wake(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Let it go on from its saved memory."""
    return act(request, machine_id, power.machine_wake)


@require_POST
def machine_start_anew(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Throw its saved memory away and start it."""
    return act(request, machine_id, power.machine_start_anew)


@require_POST
def machine_set_autostart(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """What happens when its host has been restarted."""
    form = AutostartForm(request.POST)

    def choose(*, machine: Machine, by: User) -> Operation:
        if not form.is_valid():
            raise Refused(_("Choose one of the three."))
        autostart = Autostart(form.cleaned_data["autostart"])
        return power.machine_set_autostart(machine=machine, autostart=autostart, by=by)

    return act(request, machine_id, choose)
