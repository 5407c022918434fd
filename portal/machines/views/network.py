"""The page of a machine's network: addresses, published ports, firewall. No rules here: parse, call, answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from portal.accounts.signed_in import user_of
from portal.machines import address_locks, firewall_changes, selectors
from portal.machines.firewall import kept, mark_of
from portal.machines.guest import guest_of
from portal.machines.models import Machine
from portal.machines.network_forms import (
    ACTIONS,
    DIRECTIONS,
    KINDS,
    PROTOCOLS,
    SERVICES,
    FirewallForm,
    LockForm,
    PublishPortForm,
    RuleForm,
    WhichRuleForm,
)
from portal.machines.reaching import Card, cards_of
from portal.machines.rule_words import sentence
from portal.machines.views.acting import act, machine_page
from portal.networks import ports
from portal.quotas.account import account_of
from portal.quotas.amounts import Field
from portal.quotas.bars import bars_of
from portal.refusal import Refused


@require_safe
def machine_network(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """How it is reached, and what its firewall lets through."""
    return _page(request, selectors.machine_for(user_of(request), machine_id))


@require_POST
def port_publish(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """A port of it reached at one of its host's."""
    form = PublishPortForm(request.POST)
    return _asked(
        request, machine_id, form, "port_form", lambda: partial(ports.port_publish, **form.wanted())
    )


@require_POST
def port_withdraw(request: HttpRequest, machine_id: UUID, port_id: UUID) -> HttpResponse:
    """Reached no more."""
    return act(request, machine_id, partial(ports.port_withdraw, port_id=port_id), page="network")


@require_POST
def address_lock(request: HttpRequest, machine_id: UUID, nic_id: UUID) -> HttpResponse:
    """A card that may use one address alone."""
    form = LockForm(request.POST, auto_id=LockForm.ids(nic_id))
    return _asked(
        request, machine_id, form, "lock_form",
        lambda: partial(address_locks.card_lock, nic_id=nic_id, **form.wanted()),
        locking=nic_id,
    )  # fmt: skip


@require_POST
def address_unlock(request: HttpRequest, machine_id: UUID, nic_id: UUID) -> HttpResponse:
    """Any address again."""
    return act(request, machine_id, partial(address_locks.card_unlock, nic_id=nic_id), page="network")


@require_POST
def firewall_set(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """The firewall on or off, and its defaults."""
    form = FirewallForm(request.POST)
    return _asked(
        request,
        machine_id,
        form,
        "firewall_form",
        lambda: partial(firewall_changes.firewall_set, **form.wanted()),
    )


@require_POST
def rule_add(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """One more rule."""
    form = RuleForm(request.POST)
    return _asked(
        request,
        machine_id,
        form,
        "rule_form",
        lambda: partial(firewall_changes.rules_add, rules=form.rules()),
    )


@require_POST
def rule_remove(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """A rule taken out."""
    return act(request, machine_id, _of_rule(request, firewall_changes.rule_remove), page="network")


@require_POST
def rule_move(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """A rule one place up or down."""
    move = partial(firewall_changes.rule_move, up=request.POST.get("way") == "up")
    return act(request, machine_id, _of_rule(request, move), page="network")


def _of_rule(request: HttpRequest, service: Callable[..., object]) -> Callable[..., object]:
    form = WhichRuleForm(request.POST)
    if form.is_valid():
        return partial(service, number=form.cleaned_data["number"], mark=form.cleaned_data["mark"])
    return _no_rule


def _no_rule(*, machine: Machine, by: object) -> None:
    raise Refused(_("That is no rule of this machine. Nothing was changed."))


def _asked(
    request: HttpRequest,
    machine_id: UUID,
    form: Any,
    form_name: str,
    wanted: Callable[[], Callable[..., object]],
    **shown: Any,
) -> HttpResponse:
    """Ask for it, or show the page again with the form as it was filled in and what is wrong at its field."""
    user = user_of(request)
    machine = selectors.machine_for(user, machine_id)
    if form.is_valid():
        try:
            wanted()(machine=machine, by=user)
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            return redirect("machines:network", machine_id=machine_id)
    return _page(request, machine, **{form_name: form}, **shown)


def _page(request: HttpRequest, machine: Machine, **filled_in: Any) -> HttpResponse:
    nics = list(machine.nics.select_related("network"))
    cards = cards_of(machine, nics, guest_of(machine, nics))
    now = kept(machine.firewall)
    range_of_ports: range = settings.PUBLISHED_PORTS
    context = {
        "cards": cards,
        "with_locks": list(_with_locks(cards, filled_in)),
        "bars": bars_of(account_of(machine), fields=(Field.PUBLISHED_PORTS,)),
        "publishing": [card for card in cards if card.takes_ports],
        "services": SERVICES,
        "protocols": PROTOCOLS,
        "first_port": range_of_ports.start,
        "last_port": range_of_ports.stop - 1,
        "firewall": now,
        "rules": [sentence(rule) for rule in now.spec.rules] if now else [],
        "mark": mark_of(now.spec) if now else "",
        "actions": ACTIONS,
        "directions": DIRECTIONS,
        "rule_kinds": KINDS,
        "port_form": PublishPortForm(),
        "firewall_form": FirewallForm.of(now),
        "rule_form": RuleForm(),
        **filled_in,
    }
    status = 422 if any(isinstance(form, forms.Form) and form.errors for form in filled_in.values()) else 200
    return machine_page(request, machine, "network", "machines/network.html", context, status=status)


def _with_locks(cards: list[Card], filled_in: dict[str, Any]) -> Iterator[tuple[Card, LockForm | None]]:
    """Each card with the form that locks it: as it was sent, or as the card is now; None where it cannot be locked."""
    for card in cards:
        if not card.is_bridged or card.nic.is_leaving:
            yield card, None
        elif filled_in.get("locking") == card.nic.pk:
            yield card, filled_in["lock_form"]
        else:
            yield card, LockForm.of(card.nic.pk, card.lock)
