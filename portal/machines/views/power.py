"""The buttons of a machine's life: starting, ending, its disc, its deletion. Everything here is a POST."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from portal.accounts.models import User
from portal.activity.models import Operation
from portal.machines import services
from portal.machines.drives import Drive
from portal.machines.forms import InsertDiscForm
from portal.machines.models import Machine
from portal.machines.views.acting import act
from portal.refusal import Refused


@require_POST
def machine_start(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Start it."""
    return act(request, machine_id, services.machine_start)


@require_POST
def machine_shut_down(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Ask its system to shut down."""
    return act(request, machine_id, services.machine_shut_down)


@require_POST
def machine_restart(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Ask its system to shut down, then start it."""
    return act(request, machine_id, services.machine_restart)


@require_POST
def machine_force_off(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Cut it off."""
    return act(request, machine_id, services.machine_force_off)


@require_POST
def machine_finish_installation(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Take the disc out, boot from the disk from now on."""
    return act(request, machine_id, services.machine_finish_installation)


@require_POST
def machine_insert_disc(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Put a disc in, or take it out."""
    form = InsertDiscForm(request.POST)

    def insert(*, machine: Machine, by: User) -> Operation:
        if not form.is_valid():
            raise Refused(_("That disc is no longer in the library."))
        drive = Drive(form.cleaned_data["drive"] or Drive.FIRST)
        return services.machine_insert_disc(
            machine=machine, disc=form.cleaned_data["disc"], by=by, drive=drive
        )

    return act(request, machine_id, insert)


@require_POST
def machine_delete(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Remove it, after its name was typed; the list is shown, since its own page goes with it."""

    def delete(*, machine: Machine, by: User) -> Operation:
        operation = services.machine_delete(machine=machine, name=request.POST.get("name", ""), by=by)
        messages.success(request, _("“%(name)s” is being deleted.") % {"name": machine.name})
        return operation

    return act(request, machine_id, delete, then=redirect("machines:list"))


@require_POST
def operation_cancel(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """End what is under way early."""
    return act(request, machine_id, services.operation_cancel)
