"""The pages of quotas; auditors read them. No rules here: parse, call a service or a selector, answer."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts.models import User
from portal.accounts.signed_in import user_of
from portal.quotas import selectors, services
from portal.quotas.account import Account
from portal.quotas.amounts import Limits
from portal.quotas.bars import bars_of
from portal.quotas.forms import LimitsForm
from portal.quotas.limits import base_limits, limits_of, raises_of
from portal.quotas.models import Quota, Raise, Whose
from portal.quotas.selectors import raise_words
from portal.refusal import Refused
from portal.teams.models import Team


@require_safe
def quota_list(request: HttpRequest) -> HttpResponse:
    """The quotas of all, and each person's and team's with what they have."""
    query = request.GET.get("q", "").replace("\x00", "").strip()[:100]
    context = {
        "people": selectors.people_listed(query),
        "teams": selectors.teams_listed(query),
        "query": query,
        "tab": "quotas",
    }
    return render(request, "settings/quotas.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def quota_of_all(request: HttpRequest, whose: str) -> HttpResponse:
    """What counts for every person, or every team, without a quota of their own."""
    kind = Whose(whose)
    limits = base_limits(kind)
    form = LimitsForm(request.POST or None, limits=limits)
    if request.method == "POST" and form.is_valid():
        services.quota_set(of=kind, limits=form.limits(), by=user_of(request))
        return _set(request)
    name = _("Every person") if kind is Whose.EVERY_PERSON else _("Every team")
    return _page(request, form, name, limits)


@require_http_methods(["GET", "HEAD", "POST"])
def quota_of_person(request: HttpRequest, user_id: int) -> HttpResponse:
    """One person's quota."""
    person = get_object_or_404(User, pk=user_id)
    account = Account(person.pk)
    limits = limits_of(account, granted=False)
    form = LimitsForm(request.POST or None, limits=limits)
    if request.method == "POST" and form.is_valid():
        services.quota_set(of=person, limits=form.limits(), by=user_of(request))
        return _set(request)
    return _page(request, form, str(person), limits, account, Quota.objects.filter(user=person).first())


@require_http_methods(["GET", "HEAD", "POST"])
def quota_of_team(request: HttpRequest, team_id: int) -> HttpResponse:
    """One team's quota."""
    team = get_object_or_404(Team, pk=team_id)
    account = Account(0, team.pk)
    limits = limits_of(account, granted=False)
    form = LimitsForm(request.POST or None, limits=limits)
    if request.method == "POST" and form.is_valid():
        services.quota_set(of=team, limits=form.limits(), by=user_of(request))
        return _set(request)
    return _page(request, form, str(team), limits, account, Quota.objects.filter(team=team).first())


@require_POST
def quota_remove(request: HttpRequest, quota_id: int) -> HttpResponse:
    """That of all others counts again."""
    try:
        services.quota_remove(quota=get_object_or_404(Quota, pk=quota_id), by=user_of(request))
    except Refused as refusal:
        messages.error(request, refusal.message)
    return redirect("quotas:list")


@require_POST
def quota_raise_end(request: HttpRequest, raise_id: int) -> HttpResponse:
    """A larger quota ends now."""
    raised = get_object_or_404(Raise, pk=raise_id)
    services.quota_raise_end(raised=raised, by=user_of(request))
    messages.success(request, _("It is over. Nothing that is there already is taken away."))
    return redirect("quotas:of-person", user_id=raised.user_id)


def _set(request: HttpRequest) -> HttpResponse:
    messages.success(request, _("The quota counts from now on. Nothing that is there already is taken away."))
    return redirect("quotas:list")


def _page(
    request: HttpRequest,
    form: LimitsForm,
    name: str,
    limits: Limits,
    account: Account | None = None,
    own: Quota | None = None,
) -> HttpResponse:
    context: dict[str, Any] = {
        "form": form, "name": name, "own": own, "tab": "quotas", "limits": selectors.limits_said(limits),
        "bars": bars_of(account) if account else [],
        "raises": [(each, raise_words(each)) for each in raises_of(account)] if account else [],
    }  # fmt: skip
    return render(request, "settings/quota.html", context, status=422 if form.errors else 200)
