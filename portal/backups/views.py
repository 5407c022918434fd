"""The pages of backups. No rules here: parse, call a service or a selector, answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts.models import User
from portal.accounts.signed_in import user_of
from portal.backups import selectors, services
from portal.backups.forms import WEEKDAYS, BackUpForm, PlanForm, RestoreForm
from portal.backups.models import Backup, BackupPlan
from portal.machines.homes import home_of_copy
from portal.machines.models import Machine
from portal.machines.selectors import machine_for
from portal.machines.views.acting import machine_page
from portal.quotas.account import Account
from portal.quotas.bars import NEW_MACHINE, bars_of
from portal.quotas.hold import ToBeAskedFor
from portal.refusal import Refused
from portal.requests.at_once_or_asked import at_once_or_asked
from portal.requests.forms import AskForm
from portal.requests.more import Restored

_ROWS_A_PAGE = 50


@require_safe
def machine_backups(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """A machine's backups, its plan, and the button for one now."""
    return _page(request, machine_for(user_of(request), machine_id))


@require_POST
def machine_back_up(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Back it up now."""
    user = user_of(request)
    machine = machine_for(user, machine_id)
    form = BackUpForm(request.POST)
    if form.is_valid():
        try:
            services.backup_take(machine=machine, by=user, **form.cleaned_data)
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            return redirect("machines:backups", machine_id=machine_id)
    return _page(request, machine, now_form=form)


@require_POST
def machine_backup_plan(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """When it is backed up by itself."""
    user = user_of(request)
    machine = machine_for(user, machine_id)
    form = PlanForm(request.POST)
    if form.is_valid():
        try:
            services.plan_set(machine=machine, wish=form.wish(), by=user)
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            words = _("The plan is saved.") if form.cleaned_data["is_on"] else _("The plan is switched off.")
            messages.success(request, words)
            return redirect("machines:backups", machine_id=machine_id)
    return _page(request, machine, plan_form=form)


@require_safe
def backups_of_deleted(request: HttpRequest) -> HttpResponse:
    """The backups of machines that are gone."""
    user = user_of(request)
    page = Paginator(selectors.of_deleted_machines(user), _ROWS_A_PAGE).get_page(request.GET.get("page"))
    context = {"backups": selectors.shown(page.object_list), "page_obj": page}
    return render(request, "backups/list.html", context)


@require_POST
def backup_verify(request: HttpRequest, backup_id: UUID) -> HttpResponse:
    """Have it read through."""
    return _act(request, backup_id, services.backup_verify)


@require_POST
def backup_delete(request: HttpRequest, backup_id: UUID) -> HttpResponse:
    """Delete it."""
    return _act(request, backup_id, services.backup_delete)


@require_http_methods(["GET", "HEAD", "POST"])
def backup_restore(request: HttpRequest, backup_id: UUID) -> HttpResponse:
    """A new machine made of it: the question for its name, and the making."""
    user = user_of(request)
    backup = selectors.backup_for(user, backup_id)
    form = RestoreForm(request.POST or None, initial={"name": _restored_name(backup)})
    ask_form, why = AskForm(request.POST or None), list[str]()
    if request.method == "POST" and form.is_valid():
        name = form.cleaned_data["name"]
        try:
            return at_once_or_asked(
                by=user,
                do=partial(services.backup_restore, backup=backup, name=name, by=user),
                wish=partial(Restored.of, backup, name=name),
                ask_form=ask_form,
                then=lambda made: redirect("machines:detail", machine_id=made.machine_id),
            )
        except ToBeAskedFor as refusal:
            why = [refusal.message]
        except Refused as refusal:
            form.add_refusal(refusal)
    owner, team = home_of_copy(user, owner=backup.owner, team=backup.team)
    takes = Restored.of(backup, name="").takes
    context = {
        "backup": backup,
        "form": form,
        "ask_form": ask_form,
        "why": why,
        "takes": takes,
        "bars": bars_of(Account(owner.pk, team.pk if team else None), takes, NEW_MACHINE),
    }
    return render(request, "backups/restore.html", context, status=422 if form.errors or why else 200)


def _restored_name(backup: Backup) -> str:
    return f"{backup.machine_name[:44]} ({_('restored')})"


def _act(request: HttpRequest, backup_id: UUID, service: Callable[..., object]) -> HttpResponse:
    user: User = user_of(request)
    backup = selectors.backup_for(user, backup_id)
    try:
        service(backup=backup, by=user)
    except Refused as refusal:
        messages.error(request, refusal.message)
    if backup.machine_id is None:
        return redirect("backups:list")
    return redirect("machines:backups", machine_id=backup.machine_id)


def _page(request: HttpRequest, machine: Machine, **forms: Any) -> HttpResponse:
    places = machine.host.backup_places
    plan = BackupPlan.objects.filter(machine=machine).first()
    usable = [place["name"] for place in places if not place["problem"]]
    wrong = any(form.errors for form in forms.values())
    context = {
        "backups": selectors.backups_of(machine),
        "places": places,
        "plan": plan,
        "weekdays": list(enumerate(WEEKDAYS)),
        "now_form": BackUpForm(initial={"place": plan.place if plan else "".join(usable[:1])}),
        "plan_form": PlanForm.of(plan, place="".join(usable[:1])),
        **forms,
    }
    status = 422 if wrong else 200
    return machine_page(request, machine, "backups", "backups/machine.html", context, status=status)
