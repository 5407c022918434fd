"""The pages of teams. No rules here: parse, call a service or a selector, answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts.signed_in import user_of
from portal.machines.selectors import machines_of_team
from portal.quotas.account import Account
from portal.quotas.bars import bars_of
from portal.refusal import Refused
from portal.rights.levels import Level
from portal.rights.scope import level_of
from portal.teams import selectors, services
from portal.teams.forms import MemberForm, NewTeamForm, RoleForm, TeamForm, WhoForm
from portal.teams.models import Role, Team

_MOST_MACHINES = 100


@require_safe
def team_list(request: HttpRequest) -> HttpResponse:
    """The teams that a person is in; all for who sees everything."""
    user = user_of(request)
    teams = list(selectors.teams_for(user))
    return render(request, "teams/list.html", {"teams": teams, "roles": selectors.roles_of(user)})


@require_http_methods(["GET", "HEAD", "POST"])
def team_new(request: HttpRequest) -> HttpResponse:
    """The form of a new team, and its making."""
    user = user_of(request)
    form = NewTeamForm(request.POST or None, initial={"username": user.username})
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            team = services.team_create(
                name=data["name"], description=data["description"], owner=data["username"], by=user
            )
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            return redirect("teams:detail", team_id=team.pk)
    return render(request, "teams/new.html", {"form": form}, status=422 if form.errors else 200)


@require_safe
def team_detail(request: HttpRequest, team_id: int) -> HttpResponse:
    """Who is in it, its machines, and what they take of its quota."""
    return _page(request, selectors.team_for(user_of(request), team_id))


@require_POST
def team_change(request: HttpRequest, team_id: int) -> HttpResponse:
    """Another name or description."""
    form = TeamForm(request.POST)
    return _asked(request, team_id, form, "name_form", services.team_change)


@require_POST
def member_add(request: HttpRequest, team_id: int) -> HttpResponse:
    """One more person."""
    form = MemberForm(request.POST)

    def add(*, team: Team, username: Any, role: str, by: Any) -> None:
        services.member_add(team=team, user=username, role=Role(role), by=by)

    return _asked(request, team_id, form, "member_form", add)


@require_POST
def member_role(request: HttpRequest, team_id: int) -> HttpResponse:
    """Another role for somebody."""
    form = RoleForm(request.POST)
    if not form.is_valid():
        return _done(request, team_id, _choose_somebody)
    user_id, role = form.cleaned_data["user"], Role(form.cleaned_data["role"])
    return _done(
        request,
        team_id,
        lambda team: services.member_set_role(team=team, user_id=user_id, role=role, by=user_of(request)),
    )


@require_POST
def member_remove(request: HttpRequest, team_id: int) -> HttpResponse:
    """Somebody has to leave."""
    form = WhoForm(request.POST)
    if not form.is_valid():
        return _done(request, team_id, _choose_somebody)
    user_id = form.cleaned_data["user"]
    return _done(
        request, team_id, lambda team: services.member_remove(team=team, user_id=user_id, by=user_of(request))
    )


@require_POST
def team_leave(request: HttpRequest, team_id: int) -> HttpResponse:
    """Somebody leaves by themselves."""
    user = user_of(request)
    return _done(request, team_id, lambda team: services.member_remove(team=team, user_id=user.pk, by=user))


@require_POST
def team_delete(request: HttpRequest, team_id: int) -> HttpResponse:
    """Remove it, where nothing is its any more."""
    return _done(request, team_id, lambda team: services.team_delete(team=team, by=user_of(request)))


def _choose_somebody(_team: Team) -> None:
    raise Refused(_("Choose somebody who is in the team. Nothing was changed."))


def _done(request: HttpRequest, team_id: int, act: Callable[[Team], object]) -> HttpResponse:
    """Do it, and show the team again; the list, where the person does not see it any more."""
    user = user_of(request)
    try:
        act(selectors.team_for(user, team_id))
    except Refused as refusal:
        messages.error(request, refusal.message)
    if selectors.team_level(user, team_id) is None:
        return redirect("teams:list")
    return redirect("teams:detail", team_id=team_id)


def _asked(
    request: HttpRequest, team_id: int, form: Any, form_name: str, service: Callable[..., object]
) -> HttpResponse:
    user = user_of(request)
    team = selectors.team_for(user, team_id)
    if form.is_valid():
        try:
            service(team=team, by=user, **form.cleaned_data)
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            return redirect("teams:detail", team_id=team_id)
    return _page(request, team, **{form_name: form})


def _page(request: HttpRequest, team: Team, **filled_in: Any) -> HttpResponse:
    user = user_of(request)
    level = level_of(team)
    machines = list(machines_of_team(user, team)[: _MOST_MACHINES + 1])
    context = {
        "team": team,
        "members": team.memberships.select_related("user").order_by("user__username"),
        "machines": machines[:_MOST_MACHINES],
        "has_more_machines": len(machines) > _MOST_MACHINES,
        "most_machines": _MOST_MACHINES,
        "bars": bars_of(Account(0, team.pk)),
        "roles": Role.choices,
        "owns": level >= Level.OWN,
        "is_in_it": team.memberships.filter(user=user).exists() and not user.only_reads,
        "name_form": TeamForm(initial={"name": team.name, "description": team.description}),
        "member_form": MemberForm(),
        **filled_in,
    }
    wrong = any(form.errors for form in filled_in.values())
    return render(request, "teams/team.html", context, status=422 if wrong else 200)
