"""The buttons of a machine's end date and schedule, and the page of their rules."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from portal.accounts.models import User
from portal.accounts.signed_in import user_of
from portal.leases import services
from portal.leases.forms import LeaseForm, LeaseRulesForm, ScheduleForm
from portal.leases.rules import lease_rules_now, lease_rules_set
from portal.machines.models import Machine
from portal.machines.views.acting import act
from portal.refusal import Refused


@require_POST
def lease_set(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Another end date."""
    form = LeaseForm(request.POST)

    def choose(*, machine: Machine, by: User) -> None:
        if not form.is_valid():
            raise Refused(_("Choose a day. Nothing was changed."))
        services.lease_set(machine=machine, ends_on=form.cleaned_data["ends_on"], by=by)

    return act(request, machine_id, choose)


@require_POST
def lease_extend(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """One step longer."""
    return act(request, machine_id, services.lease_extend)


@require_POST
def lease_remove(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """No end date any more."""
    return act(request, machine_id, services.lease_remove)


@require_POST
def schedule_set(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """When it runs by itself."""
    form = ScheduleForm(request.POST)

    def choose(*, machine: Machine, by: User) -> None:
        if not form.is_valid():
            raise Refused(_("Choose days, and hours from 0 to 24. Nothing was changed."))
        services.schedule_set(machine=machine, by=by, **form.cleaned_data)

    return act(request, machine_id, choose)


@require_http_methods(["GET", "HEAD", "POST"])
def lease_rules(request: HttpRequest) -> HttpResponse:
    """How long machines may stay, and when they count as idle."""
    form = LeaseRulesForm(request.POST or None, instance=lease_rules_now())
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            lease_rules_set(by=user_of(request), values=form.cleaned_data)
        messages.success(request, _("The rules count from now on."))
        return redirect("lease-rules")
    context = {"form": form, "tab": "leases"}
    return render(request, "settings/leases.html", context, status=422 if form.errors else 200)
