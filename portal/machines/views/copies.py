"""The page of a machine's disks and copies. No rules here: parse, call a service or a selector, answer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from portal.accounts.models import User
from portal.accounts.signed_in import user_of
from portal.activity.models import Operation
from portal.exports.selectors import exports_of
from portal.machines import cloning, freezing, moving, renewing, room, selectors
from portal.machines.copy_forms import CloneForm, MoveDiskForm, PublishForm
from portal.machines.models import Machine
from portal.machines.template_selectors import linked_clones_of
from portal.machines.views.acting import act, machine_page
from portal.quotas.account import account_of
from portal.quotas.bars import NEW_MACHINE, bars_of
from portal.quotas.hold import ToBeAskedFor
from portal.refusal import Refused
from portal.requests.at_once_or_asked import at_once_or_asked
from portal.requests.forms import AskForm
from portal.requests.more import Clone
from portal.requests.selectors import open_for
from workers.contract.disks import DiskKind


@require_safe
def machine_copies(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Where its disks lie, what it shares with others, and the ways to make another one of it."""
    machine = selectors.machine_for(user_of(request), machine_id)
    return _page(request, machine)


@require_POST
def machine_clone(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Make another machine like it; the new one's page is shown."""
    user = user_of(request)
    machine = selectors.machine_for(user, machine_id)
    form = CloneForm(request.POST)
    ask_form, why = AskForm(request.POST), list[str]()
    if form.is_valid():
        wanted = form.wanted()
        try:
            return at_once_or_asked(
                by=user,
                do=partial(cloning.machine_clone, machine=machine, by=user, **wanted),
                wish=partial(Clone.of, machine, **wanted),
                ask_form=ask_form,
                then=lambda made: redirect("machines:detail", machine_id=made.machine_id),
            )
        except ToBeAskedFor as refusal:
            why = [refusal.message]
        except Refused as refusal:
            form.add_error(refusal.field if refusal.field in form.fields else None, refusal.message)
    return _page(request, machine, clone_form=form, why=why, **({"ask_form": ask_form} if why else {}))


@require_POST
def machine_publish(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Make a template of it; the templates are shown."""
    user = user_of(request)
    machine = selectors.machine_for(user, machine_id)
    form = PublishForm(request.POST)
    if form.is_valid():
        try:
            freezing.machine_publish(machine=machine, by=user, **form.cleaned_data)
        except Refused as refusal:
            form.add_error(None, refusal.message)
        else:
            messages.success(request, _("The template is being made. That takes a moment."))
            return redirect("templates:list")
    return _page(request, machine, publish_form=form)


@require_POST
def machine_move_disk(request: HttpRequest, machine_id: UUID, disk_id: UUID) -> HttpResponse:
    """Have a disk lie elsewhere, or be of another kind."""
    form = MoveDiskForm(request.POST)

    def move(*, machine: Machine, by: User) -> Operation:
        if not form.is_valid():
            raise Refused(_("Choose a kind and a place. Nothing was changed."))
        kind, pool = DiskKind(form.cleaned_data["kind"]), form.cleaned_data["pool"]
        return moving.disk_move(machine=machine, disk_id=disk_id, kind=kind, pool=pool, by=by)

    return act(request, machine_id, move, page="copies")


@require_POST
def machine_renew(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Let its disks be again what they began as."""
    return act(request, machine_id, renewing.machine_renew, page="copies")


def _page(
    request: HttpRequest, machine: Machine, *, why: Sequence[str] = (), **filled_in: forms.Form
) -> HttpResponse:
    wrong = bool(why) or any(form.errors for form in filled_in.values())
    disks = list(machine.disks.select_related("base__template", "image").order_by("position"))
    context = {
        "disks": disks,
        "bars": bars_of(account_of(machine), fields=NEW_MACHINE),
        "disk_bytes": sum(disk.size_bytes for disk in disks),
        "renewable": [disk for disk in disks if renewing.can_be_renewed(disk)],
        "has_fixed": any(disk.kind == DiskKind.FIXED for disk in disks),
        "pools": room.usable_pools(machine.host),
        "clones": linked_clones_of(machine, user_of(request)),
        "has_snapshots": machine.snapshots.exists(),
        "exports": exports_of(machine),
        "clone_form": CloneForm(initial={"how": "linked", "start": True}),
        "publish_form": PublishForm(initial={"name": machine.name, "for_everybody": True}),
        "ask_form": AskForm(),
        "why": why,
        "asked": open_for(machine, user_of(request)),
        **filled_in,
    }
    return machine_page(
        request, machine, "copies", "machines/copies.html", context, status=422 if wrong else 200
    )
