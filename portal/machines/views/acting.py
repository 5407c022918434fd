"""What the pages of one machine share: who looks, what stands at the top, and how a button is answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from portal.accounts.signed_in import user_of
from portal.activity.models import CANCELLABLE, STARTING, Kind, Operation
from portal.activity.selectors import history_of
from portal.activity.words import seconds_left, shown
from portal.fleet.words import emulated_notice
from portal.machines import selectors
from portal.machines.models import Machine
from portal.machines.pending import pending_words
from portal.machines.status import Status, possible
from portal.machines.tabs import TABS
from portal.refusal import Refused
from portal.rights.may import May
from portal.rights.scope import level_of
from workers.contract.errors import ErrorCode


def act(
    request: HttpRequest,
    machine_id: UUID,
    service: Callable[..., object],
    *,
    then: HttpResponse | None = None,
    page: str = "detail",
) -> HttpResponse:
    """Do it and show the machine's `page`, or go on to `then`; a refusal stands on that page in words."""
    user = user_of(request)
    machine = selectors.machine_for(user, machine_id)
    its_page = redirect(f"machines:{page}", machine_id=machine_id)
    try:
        service(machine=machine, by=user)
    except Refused as refusal:
        messages.error(request, refusal.message)
        return its_page
    return then or its_page


def machine_page(
    request: HttpRequest,
    machine: Machine,
    tab: str,
    template: str,
    context: Mapping[str, Any],
    *,
    status: int = 200,
) -> HttpResponse:
    """One of the pages of a machine: its own content below the head and the tabs that all of them have."""
    shown = {**head_of(machine), "tab": tab, "tabs": TABS, "may": May(level_of(machine)), **context}
    return render(request, template, shown, status=status)


def head_of(machine: Machine) -> dict[str, Any]:
    """What stands at the top of each page of a machine. Four queries."""
    history = history_of(machine.pk)
    newest = history[0] if history else None
    status = selectors.status_with(machine, newest)
    cancelled = {each.about for each in history if each.kind == Kind.CANCEL}
    return {
        "machine": machine,
        "status": status,
        "nics": list(machine.nics.select_related("network")),
        "operation": shown(newest) if newest else None,
        "may_cancel": newest is not None and newest.is_open and newest.kind in CANCELLABLE,
        "shows_steps": newest is not None and _shows_steps(newest, status),
        "history": [
            shown(each, is_cancelled=each.pk in cancelled) for each in history if each.kind != Kind.CANCEL
        ],
        "can": possible(status, has_disc=machine.disc_id is not None, wanted=machine.power),
        "asks_guest": seconds_left(newest) if newest is not None and newest.is_open else None,
        "was_ignored": newest is not None
        and newest.error_code == ErrorCode.GUEST_IGNORED_SHUTDOWN
        and status.known == "running",
        "host_is_silent": machine.host.is_silent,
        "pending": pending_words(machine),
        "emulated_notice": emulated_notice(machine.host.host_facts),
    }


def _shows_steps(newest: Operation, status: Status) -> bool:
    """While something is done or went wrong; and how it came to run, so that a quick start does not flash by."""
    has_started = newest.kind in STARTING and status.known == "running"
    return newest.is_open or bool(newest.error_code) or has_started
