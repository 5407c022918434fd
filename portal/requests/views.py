"""The pages of requests. No rules here: parse, call a service or a selector, answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts.models import User
from portal.accounts.signed_in import user_of
from portal.quotas.account import Account
from portal.quotas.bars import bars_of
from portal.quotas.limits import limits_of
from portal.refusal import Refused
from portal.requests import deciding, selectors, services
from portal.requests.forms import AnswerForm, DecideForm, DecideManyForm, LargerQuotaForm
from portal.requests.models import Request, State, Wanted
from portal.requests.more import Clone, OfMachine
from portal.requests.rules import rules_now
from portal.requests.wish import Wish
from portal.requests.wishes import can_end, kept_in
from portal.teams.models import Team
from portal.teams.selectors import teams_owned

_ROWS_A_PAGE = 50
_MOST_AT_ONCE = 100


@require_safe
def request_list(request: HttpRequest) -> HttpResponse:
    """A person's requests; for who decides all of them, those that wait first."""
    user = user_of(request)
    sees_all = user.is_approver or user.is_auditor
    state = request.GET.get("state", "open" if sees_all else "all")
    wanted = request.GET.get("wanted", "")
    query = request.GET.get("q", "").replace("\x00", "").strip()[:100]
    rows = selectors.filtered(
        selectors.requests_for(user),
        state=state,
        wanted=wanted if wanted in Wanted.values else "",
        query=query if sees_all else "",
    )
    page = Paginator(rows, _ROWS_A_PAGE).get_page(request.GET.get("page"))
    context = {
        "requests": selectors.listed(page.object_list),
        "page_obj": page,
        "state": state,
        "states": State.choices,
        "wanted": wanted,
        "kinds": Wanted.choices,
        "query": query,
        "sees_all": sees_all,
        "may_decide": user.is_approver,
        "bars": [] if sees_all else bars_of(Account(user.pk)),
    }
    return render(request, "requests/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def quota_ask(request: HttpRequest) -> HttpResponse:
    """Ask for a larger quota, for oneself or for a team that one owns."""
    user = user_of(request)
    teams = list(teams_owned(user))
    team = _chosen(request.GET.get("team", ""), teams)
    account = Account(user.pk, team.pk if team else None)
    limits = limits_of(account, granted=False)
    form = LargerQuotaForm(request.POST or None, limits=limits, can_end=team is None)
    if request.method == "POST" and form.is_valid():
        try:
            row = services.quota_ask(
                by=user,
                wanted=form.wanted(),
                reason=form.cleaned_data["reason"],
                until=form.cleaned_data.get("until"),
                team=team,
            )
        except Refused as refusal:
            form.add_error(None, refusal.message)
        else:
            return redirect("requests:detail", request_id=row.pk)
    context = {"form": form, "bars": bars_of(account), "teams": teams, "team": team}
    return render(request, "requests/quota.html", context, status=422 if form.errors else 200)


@require_safe
def request_detail(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """One request: what, why, how it went; and for who decides what there is to decide by."""
    user = user_of(request)
    return _page(request, user, selectors.request_for(user, request_id))


@require_POST
def request_withdraw(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Not wanted any more."""
    user = user_of(request)
    row = selectors.own_request(user, request_id)
    return _done(request, row, partial(services.request_withdraw, request=row, by=user))


@require_POST
def request_answer(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Answer what was asked back."""
    user = user_of(request)
    row = selectors.own_request(user, request_id)
    form = AnswerForm(request.POST)
    answer = form.cleaned_data["answer"] if form.is_valid() else ""
    return _done(request, row, partial(services.request_answer, request=row, by=user, answer=answer))


@require_POST
def request_decide(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Approve, approve less, ask back, decline."""
    user = user_of(request)
    row = selectors.request_for(user, request_id)
    kept = _kept(row)
    form = DecideForm(request.POST, kept=kept, until=row.until, can_end=_can_end(row, kept))
    if form.is_valid():
        try:
            _decide(row, user, form)
        except Refused as refusal:
            form.add_error(None, refusal.message)
        else:
            return redirect("requests:detail", request_id=row.pk)
    return _page(request, user, selectors.request_for(user, request_id), form)


@require_POST
def request_decide_many(request: HttpRequest) -> HttpResponse:
    """The same decision for all that are chosen, each by itself: one that cannot be hinders no other."""
    user = user_of(request)
    form = DecideManyForm(request.POST)
    chosen = _ids(request.POST.getlist("chosen"))
    if not form.is_valid() or not chosen:
        messages.error(request, _("Choose requests and what is to be done with them. Nothing was decided."))
        return redirect("requests:list")
    decided = 0
    for row in selectors.requests_for(user).filter(pk__in=chosen).order_by("asked_at"):
        comment = form.cleaned_data["comment"]
        try:
            if form.cleaned_data["decision"] == "approve":
                deciding.request_approve(request=row, by=user, comment=comment)
            else:
                deciding.request_decline(request=row, by=user, comment=comment)
        except Refused as refusal:
            words = _("Not decided, of %(who)s: %(why)s")
            messages.error(request, words % {"who": row.asked_by, "why": refusal.message})
        else:
            decided += 1
    if decided:
        words = ngettext("%(n)d request was decided.", "%(n)d requests were decided.", decided)
        messages.success(request, words % {"n": decided})
    return redirect("requests:list")


def _decide(row: Request, user: User, form: DecideForm) -> None:
    comment = form.cleaned_data["comment"]
    match form.cleaned_data["decision"]:
        case "approve":
            deciding.request_approve(request=row, by=user, comment=comment)
        case "approve_less":
            deciding.request_approve(request=row, by=user, comment=comment, **form.less())
        case "ask_back":
            deciding.request_ask_back(request=row, by=user, question=comment)
        case _:
            deciding.request_decline(request=row, by=user, comment=comment)


def _done(request: HttpRequest, row: Request, service: Callable[[], object]) -> HttpResponse:
    try:
        service()
    except Refused as refusal:
        messages.error(request, refusal.message)
    return redirect("requests:detail", request_id=row.pk)


def _page(request: HttpRequest, user: User, row: Request, form: DecideForm | None = None) -> HttpResponse:
    kept = _kept(row)
    is_own = row.asked_by_id == user.pk
    may_decide = user.is_approver and row.is_open and (not is_own or rules_now().approve_own)
    context: dict[str, Any] = {
        "row": row,
        "title": kept.title if kept else row.get_wanted_display(),
        "tone": selectors.TONES[State(row.state)],
        "kept": kept,
        "about": kept.machine if isinstance(kept, OfMachine | Clone) else None,
        "granted": kept_in(row, granted=True) if kept and row.granted else None,
        "events": selectors.time_line_of(row),
        "is_own": is_own,
        "may_decide": may_decide,
        "standings": selectors.standings_of(row, kept) if kept else [],
        "why": selectors.why_asked(row, kept) if kept and row.is_open else [],
        "hosts": selectors.room_left(kept) if kept and user.is_approver and row.is_open else [],
        "can_end": _can_end(row, kept),
        "form": form or DecideForm(kept=kept, until=row.until, can_end=_can_end(row, kept)),
    }
    return render(request, "requests/detail.html", context, status=422 if form and form.errors else 200)


def _kept(row: Request) -> Wish | None:
    """None where this version cannot read it."""
    try:
        return kept_in(row)
    except Refused:
        return None


def _can_end(row: Request, kept: Wish | None) -> bool:
    return kept is not None and can_end(row, kept)


def _chosen(raw: str, teams: list[Team]) -> Team | None:
    """The team that the address names; None for the person alone. Raises Http404 for one that they do not own."""
    if not raw:
        return None
    for each in teams:
        if str(each.pk) == raw:
            return each
    raise Http404


def _ids(raw: list[str]) -> list[UUID]:
    found = []
    for each in raw[:_MOST_AT_ONCE]:
        try:
            found.append(UUID(each))
        except ValueError:
            continue
    return found
