"""A machine's page "Sharing", and what is offered to a person. No rules here: parse, call a service, answer."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts.signed_in import user_of
from portal.machines.models import Machine
from portal.machines.selectors import machine_for, machine_level
from portal.machines.views.acting import act, machine_page
from portal.refusal import Refused
from portal.rights import handing_over, sharing
from portal.rights.forms import HandOverForm, HomeForm, ShareForm, TakeForm
from portal.rights.levels import Level
from portal.rights.models import LEVEL_WORDS, Offer
from portal.rights.offers import offer_to


@require_safe
def machine_sharing(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Whose it is, and with whom it is shared."""
    return _page(request, machine_for(user_of(request), machine_id))


@require_POST
def machine_share(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Share it with somebody, or at another level."""
    user = user_of(request)
    machine = machine_for(user, machine_id)
    form = ShareForm(request.POST, by=user)
    if form.is_valid():
        try:
            level, ends_on = form.cleaned_data["level"], form.cleaned_data["ends_on"]
            sharing.share_set(machine=machine, to=form.whom, level=level, ends_on=ends_on, by=user)
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            return redirect("machines:sharing", machine_id=machine_id)
    return _page(request, machine, share_form=form)


@require_POST
def machine_share_withdraw(request: HttpRequest, machine_id: UUID, share_id: UUID) -> HttpResponse:
    """Share it with them no more."""
    return act(request, machine_id, partial(sharing.share_withdraw, share_id=share_id), page="sharing")


@require_POST
def machine_hand_over(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Offer it to a person."""
    user = user_of(request)
    machine = machine_for(user, machine_id)
    form = HandOverForm(request.POST, auto_id="hand-over-%s")
    if form.is_valid():
        try:
            handing_over.offer_make(machine=machine, to=form.cleaned_data["username"], by=user)
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            return redirect("machines:sharing", machine_id=machine_id)
    return _page(request, machine, hand_over_form=form)


@require_POST
def machine_offer_withdraw(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Offer it no more."""
    return act(request, machine_id, handing_over.offer_withdraw, page="sharing")


@require_POST
def machine_move_home(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Make it a team's, or one's own again."""
    user = user_of(request)
    machine = machine_for(user, machine_id)
    form = HomeForm(request.POST, by=user)
    if form.is_valid():
        try:
            handing_over.move_home(machine=machine, team=form.cleaned_data["team"], by=user)
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            seen = machine_level(user, machine_id) is not None
            return redirect("machines:sharing", machine_id=machine_id) if seen else redirect("machines:list")
    return _page(request, machine, home_form=form)


@require_http_methods(["GET", "HEAD", "POST"])
def machine_offer(request: HttpRequest, offer_id: UUID) -> HttpResponse:
    """What is offered to the person: take it, under a name that is free, or decline."""
    user = user_of(request)
    offer = offer_to(user, offer_id)
    form = TakeForm(request.POST or None, initial={"name": offer.machine.name})
    if request.method == "POST" and request.POST.get("answer") == "decline":
        handing_over.offer_decline(offer=offer, by=user)
        messages.success(request, _("You declined it. It stays whose it was."))
        return redirect("machines:list")
    if request.method == "POST" and form.is_valid():
        try:
            machine = handing_over.offer_take(offer=offer, name=form.cleaned_data["name"], by=user)
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            return redirect("machines:detail", machine_id=machine.pk)
    return render(
        request, "rights/offer.html", {"offer": offer, "form": form}, status=422 if form.errors else 200
    )


def _page(request: HttpRequest, machine: Machine, **filled_in: forms.Form) -> HttpResponse:
    user = user_of(request)
    context: dict[str, Any] = {
        "shares": [(share, LEVEL_WORDS[Level(share.level)]) for share in sharing.shares_of(machine)],
        "offer": Offer.objects.select_related("to", "by").filter(machine=machine).first(),
        "share_form": ShareForm(by=user),
        "hand_over_form": HandOverForm(auto_id="hand-over-%s"),
        "home_form": HomeForm(by=user, initial={"team": machine.team_id}),
        **filled_in,
    }
    status = 422 if any(form.errors for form in filled_in.values()) else 200
    return machine_page(request, machine, "sharing", "rights/sharing.html", context, status=status)
