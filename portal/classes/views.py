"""The pages of classes. No rules here: parse, call a service or a selector, answer."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts.signed_in import user_of
from portal.activity.models import Kind
from portal.classes import acts, selectors
from portal.classes.forms import NewClassForm
from portal.classes.lists import Wanted, WrongLines, lines_of, wanted_of, written
from portal.classes.making import class_make, is_approved
from portal.classes.models import Class
from portal.machines.cloning import hardware_of
from portal.quotas.account import Account
from portal.quotas.amounts import Amounts, Field, said
from portal.quotas.bars import NEW_MACHINE, bars_of
from portal.refusal import Refused
from portal.rights.levels import Level

_MOST_NAMED = 5


@require_safe
def class_list(request: HttpRequest) -> HttpResponse:
    """The classes that a person has made, or that are their team's."""
    user = user_of(request)
    context = {
        "classes": list(selectors.classes_for(user)),
        "may_make": selectors.may_make_classes(user),
    }
    return render(request, "classes/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def class_new(request: HttpRequest) -> HttpResponse:
    """The form; then what exactly will be made; then its making."""
    user = user_of(request)
    team = request.GET.get("team", "")
    initial = {"team": team} if team.isascii() and team.isdigit() else {}
    form = NewClassForm(request.POST or None, request.FILES or None, by=user, initial=initial)
    lines: list[str] = []
    wanted: list[Wanted] = []
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        is_confirmed = request.POST.get("confirmed") == "yes"
        try:
            wanted = wanted_of(lines_of(form.list_text), class_name=data["name"], team=data["team"])
            made = class_make(
                name=data["name"], template=data["template"], team=data["team"], network=data["network"],
                wanted=wanted, start=data["start"], by=user, only_try=not is_confirmed,
            )  # fmt: skip
        except WrongLines as refusal:
            form.add_refusal(refusal)
            lines = refusal.lines
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            if is_confirmed:
                return redirect("classes:detail", class_id=made.pk)
            return _preview(request, form, wanted)
    context = {"form": form, "lines": lines}
    return render(request, "classes/new.html", context, status=422 if form.errors else 200)


def _preview(request: HttpRequest, form: NewClassForm, wanted: list[Wanted]) -> HttpResponse:
    data = form.cleaned_data
    hardware = hardware_of(data["template"])
    disk_bytes = sum(disk.size_bytes for disk in hardware.disks)
    each = Amounts(1, int(data["start"]), hardware.cpus, hardware.memory_mib, disk_bytes)
    together = Amounts(**{field: each.of(field) * len(wanted) for field in Field})
    counted = (Field.MACHINES, Field.CPUS, Field.MEMORY_MIB, Field.DISK_BYTES)
    context = {
        "data": data,
        "wanted": wanted,
        "people": written((one.person.username, one.machine) for one in wanted),
        "each": ", ".join(said(field, each.of(field)) for field in counted),
        "all": ", ".join(said(field, together.of(field)) for field in counted),
        "bars": bars_of(Account(0, data["team"].pk), together, NEW_MACHINE) if data["team"] else [],
        "is_approved": is_approved(user_of(request)),
    }
    return render(request, "classes/preview.html", context)


@require_safe
def class_detail(request: HttpRequest, class_id: UUID) -> HttpResponse:
    """How far it is, and who has which machine."""
    user = user_of(request)
    row = selectors.class_for(user, class_id)
    members = selectors.members_of(row, user)
    context = {
        "class": row,
        "members": members,
        "has_machines": selectors.has_machines(members),
        "progress": selectors.progress_of(row),
        "owns": selectors.class_level(user, class_id) == Level.OWN,
    }
    return render(request, "classes/class.html", context)


@require_POST
def act_together(request: HttpRequest, class_id: UUID) -> HttpResponse:
    """Start, shut down, cut off, reset or make anew all of them."""
    wish = request.POST.get("act", "")

    def act(row: Class) -> acts.Answer:
        if wish not in acts.TOGETHER:
            raise Refused(_("Choose one of the buttons. Nothing was changed."))
        return acts.class_act(row=row, kind=Kind(wish), by=user_of(request))

    return _answered(request, class_id, act)


@require_POST
def delete_machines(request: HttpRequest, class_id: UUID) -> HttpResponse:
    """Delete all of them."""
    name = request.POST.get("name", "")
    return _answered(
        request, class_id, lambda row: acts.machines_delete(row=row, name=name, by=user_of(request))
    )


@require_POST
def class_remove(request: HttpRequest, class_id: UUID) -> HttpResponse:
    """Take one without machines off the list."""
    user = user_of(request)
    try:
        acts.class_remove(row=selectors.class_for(user, class_id), by=user)
    except Refused as refusal:
        messages.error(request, refusal.message)
        return redirect("classes:detail", class_id=class_id)
    return redirect("classes:list")


def _answered(request: HttpRequest, class_id: UUID, act: Callable[[Class], acts.Answer]) -> HttpResponse:
    row = selectors.class_for(user_of(request), class_id)
    try:
        answer = act(row)
    except Refused as refusal:
        messages.error(request, refusal.message)
        return redirect("classes:detail", class_id=class_id)
    if answer.asked:
        words = ngettext("Asked of %(n)d machine.", "Asked of %(n)d machines.", answer.asked)
        messages.success(request, words % {"n": answer.asked})
    if answer.refused:
        more = len(answer.refused) - _MOST_NAMED
        named = " · ".join(answer.refused[:_MOST_NAMED]) + (
            _(" · and %(n)d more") % {"n": more} if more > 0 else ""
        )
        messages.error(request, _("Not asked of: %(named)s") % {"named": named})
    return redirect("classes:detail", class_id=class_id)
