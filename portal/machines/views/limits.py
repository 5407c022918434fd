"""The limits of a machine, a card of its hardware's page. No rules here: parse, call a service, answer."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from portal.accounts.signed_in import user_of
from portal.machines import limits, selectors
from portal.machines.limit_forms import LimitsForm
from portal.machines.views.hardware import hardware_page
from portal.refusal import Refused


@require_POST
def machine_limits(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Its share of the processors, and what its disks and cards may do."""
    user = user_of(request)
    machine = selectors.machine_for(user, machine_id)
    form = LimitsForm(
        request.POST,
        machine=machine,
        disks=machine.disks.order_by("position"),
        cards=machine.nics.select_related("network"),
    )
    if form.is_valid():
        try:
            limits.machine_change_limits(machine=machine, by=user, **form.wanted())
        except Refused as refusal:
            form.add_error(refusal.field if refusal.field in form.fields else None, refusal.message)
        else:
            return redirect("machines:hardware", machine_id=machine_id)
    return hardware_page(request, machine, limits_form=form)
