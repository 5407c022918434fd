"""The pages of the activity. No rules here: parse, ask a selector, answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from portal.accounts.models import User
from portal.accounts.signed_in import user_of
from portal.audit import checking
from portal.audit.actions import Action, ObjectKind, Result, choices
from portal.audit.exporting import as_csv, as_json_lines
from portal.audit.models import Append, Head
from portal.audit.selectors import Filter, entries, filter_of, machines_still_there
from portal.audit.services import of_person, record
from portal.audit.words import shown
from portal.machines.selectors import machine_for
from portal.machines.views.acting import machine_page

_ROWS_A_PAGE = 50
_FORMATS: dict[str, tuple[str, str, Callable[[Append], Iterator[str]]]] = {
    "csv": ("text/csv; charset=utf-8", "csv", as_csv),
    "json": ("application/x-ndjson", "jsonl", as_json_lines),
}


@require_safe
def site_activity(request: HttpRequest) -> HttpResponseBase:
    """Everything that was done on the site, for administrators and auditors."""
    user = user_of(request)
    wanted = filter_of(request.GET)
    rows = entries(wanted)
    if request.GET.get("format"):
        return _export(request, rows, user)
    context = _listed(request, rows, wanted, sees_addresses=True)
    return render(request, "audit/site.html", context | {"head": Head.objects.filter(pk=1).first()})


@require_safe
def own_activity(request: HttpRequest) -> HttpResponseBase:
    """What a person did, and what was done as them."""
    return _of_person(request, user_of(request))


@require_safe
def person_activity(request: HttpRequest, user_id: int) -> HttpResponseBase:
    """Somebody's activity: for themselves, administrators and auditors."""
    return _of_person(request, get_object_or_404(User, pk=user_id))


@require_safe
def machine_activity(request: HttpRequest, machine_id: UUID) -> HttpResponseBase:
    """What was done with a machine, for whoever sees it; from where others came only auditors see."""
    user = user_of(request)
    machine = machine_for(user, machine_id)
    wanted = filter_of(request.GET)
    rows = entries(wanted, machine=machine)
    if request.GET.get("format") and user.is_auditor:
        return _export(request, rows, user)
    context = _listed(request, rows, wanted, sees_addresses=user.is_auditor)
    return machine_page(request, machine, "activity", "audit/machine.html", context)


@require_POST
def activity_check(request: HttpRequest) -> HttpResponse:
    """Walk the whole chain now."""
    found = checking.check(by=user_of(request))
    if found.is_whole:
        words = _("All %(count)d lines are there, and as they were written.")
        messages.success(request, words % {"count": found.count})
    else:
        messages.error(request, found.problem)
    return redirect("audit:site")


def _of_person(request: HttpRequest, person: User) -> HttpResponseBase:
    user = user_of(request)
    wanted = filter_of(request.GET)
    rows = entries(wanted, person=person)
    if request.GET.get("format"):
        return _export(request, rows, user)
    # From where an administrator looked at somebody is not that person's to know.
    context = _listed(request, rows, wanted, sees_addresses=user.is_auditor, own=user)
    return render(request, "audit/person.html", context | {"person": person, "is_own": person == user})


def _listed(
    request: HttpRequest, rows: Append, wanted: Filter, *, sees_addresses: bool, own: User | None = None
) -> dict[str, object]:
    page = Paginator(rows, _ROWS_A_PAGE).get_page(request.GET.get("page"))
    machines = machines_still_there(page.object_list)
    return {
        "entries": [
            shown(
                each,
                sees_address=sees_addresses or (own is not None and each.actor_id == own.pk),
                machines=machines,
            )
            for each in page.object_list
        ],
        "page_obj": page,
        "total": page.paginator.count,
        "filter": wanted,
        "actions": choices(),
        "kinds": ObjectKind.choices,
        "results": Result.choices,
        "sees_addresses": sees_addresses or own is not None,
        "may_export": sees_addresses or own is not None,
    }


def _export(request: HttpRequest, rows: Append, user: User) -> HttpResponseBase:
    chosen = _FORMATS.get(request.GET["format"])
    if chosen is None:
        raise Http404
    content_type, ending, write = chosen
    if not user.is_auditor:  # the addresses of others are not for them
        rows = rows.filter(actor_id=user.pk)
    if request.method == "GET":
        about = filter_of(request.GET).query
        record(Action.LOG_EXPORTED, by=user, about=of_person(user), details={"format": ending, "only": about})
    response = StreamingHttpResponse(write(rows), content_type=content_type)
    name = f"activity-{timezone.now():%Y-%m-%d}.{ending}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
