"""Reading teams, always scoped to what a person may see: their own, or all for who sees everything."""

from __future__ import annotations

from django.db.models import Case, Count, IntegerField, OuterRef, Q, QuerySet, Subquery, Value, When
from django.http import Http404

from portal.accounts.models import User
from portal.rights.levels import Level
from portal.rights.scope import ROLE_LEVELS, level_everywhere, level_of
from portal.teams.models import Membership, Role, Team


def teams_for(user: User) -> QuerySet[Team]:
    """The teams that a person sees, each with its `level` for them and how many people and machines it has. One query."""
    people = Membership.objects.filter(team=OuterRef("pk")).order_by().values("team").annotate(n=Count("pk"))
    machines = Team.objects.filter(pk=OuterRef("pk")).order_by().values("pk").annotate(n=Count("machines"))
    teams = Team.objects.annotate(
        people_count=Subquery(people.values("n")), machine_count=Subquery(machines.values("n"))
    )
    everywhere = level_everywhere(user)
    if everywhere is not None:
        return teams.annotate(level=Value(everywhere.value, IntegerField()))
    by_role = [When(role=role, then=level.value) for role, level in ROLE_LEVELS.items()]
    mine = Membership.objects.filter(user=user, team=OuterRef("pk"))
    level = Case(*by_role, default=0, output_field=IntegerField())
    return teams.filter(memberships__user=user).annotate(
        level=Subquery(mine.values_list(level, flat=True)[:1])
    )


def team_for(user: User, team_id: int) -> Team:
    """The team. Raises Http404 where the person may not see it."""
    team = teams_for(user).filter(pk=team_id).first()
    if team is None:
        raise Http404
    return team


def team_level(user: User, team_id: int) -> Level | None:
    """What the person may do with the team; None where they do not see it. One query."""
    team = teams_for(user).filter(pk=team_id).first()
    return None if team is None else level_of(team)


def teams_with_machines_of(user: User) -> QuerySet[Team]:
    """The teams in which the person may have machines: as an owner or a member."""
    return Team.objects.filter(
        Q(memberships__user=user, memberships__role__in=(Role.OWNER, Role.MEMBER))
    ).order_by("name")


def teams_owned(user: User) -> QuerySet[Team]:
    """The teams in which the person decides."""
    return Team.objects.filter(memberships__user=user, memberships__role=Role.OWNER).order_by("name")


def roles_of(user: User) -> dict[int, str]:
    """The person's role in each of their teams, in words. One query."""
    return {each.team_id: each.get_role_display() for each in Membership.objects.filter(user=user)}
