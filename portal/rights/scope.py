"""Rows that belong to a person or to a team: those that somebody may see, each with their level of it, in the same query."""

from __future__ import annotations

from typing import TypeVar, cast

from django.db.models import Case, F, IntegerField, Model, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Greatest

from portal.accounts.models import User
from portal.rights.levels import Level
from portal.rights.models import Share, not_over
from portal.teams.models import Membership, Role

ROLE_LEVELS = {Role.OWNER: Level.OWN, Role.MEMBER: Level.MANAGE, Role.VIEWER: Level.VIEW_CONSOLE}
"""What a role in a team is worth for what is the team's. A member has all of what they made themselves."""

Row = TypeVar("Row", bound=Model)


def seen_by(user: User, rows: QuerySet[Row], *, shared: bool = False) -> QuerySet[Row]:
    """The rows, which have an `owner` and a `team`, that the person may see; `level_of` reads their level of each.

    `shared`: the rows are machines, and what is shared with the person or their teams counts too.
    """
    everywhere = level_everywhere(user)
    if everywhere is not None:
        return cast(QuerySet[Row], rows.annotate(level=Value(everywhere.value, IntegerField())))
    mine = Membership.objects.filter(user=user)
    visible = Q(owner=user, team=None) | Q(team__in=mine.values("team"))
    levels: list[Combinable] = [
        Case(When(owner=user, team=None, then=Level.OWN.value), default=0, output_field=IntegerField()),
        Coalesce(Subquery(_by_role(mine, user)), 0),
    ]
    if shared:
        visible |= Q(pk__in=_shares(user).values("machine"))
        levels.append(Coalesce(Subquery(_by_share(user)), 0))
    return cast(QuerySet[Row], rows.filter(visible).annotate(level=Greatest(*levels)))


def at_least(level: Level, rows: QuerySet[Row]) -> QuerySet[Row]:
    """Of what `seen_by` found, that with which the person may do as much."""
    return rows.filter(Q(("level__gte", level.value)))


def level_of(row: Model) -> Level:
    """What the person for whom `seen_by` fetched the row may do with it."""
    return Level(row.level)  # type: ignore[attr-defined]  # an annotation


def level_everywhere(user: User) -> Level | None:
    """What somebody may do with everything there is; None for everybody but administrators and auditors."""
    if user.is_administrator:
        return Level.OWN
    return Level.SEE if user.only_reads else None


def _by_role(mine: QuerySet[Membership], user: User) -> QuerySet[Membership, int]:
    made_it = Q(role=Role.MEMBER) & Q(user=OuterRef("owner"))
    by_role = [When(role=role, then=level.value) for role, level in ROLE_LEVELS.items()]
    level = Case(When(made_it, then=Level.OWN.value), *by_role, default=0, output_field=IntegerField())
    return mine.filter(team=OuterRef("team")).values_list(level, flat=True)[:1]


def _shares(user: User) -> QuerySet[Share]:
    return Share.objects.filter(
        not_over(), Q(user=user) | Q(team__in=Membership.objects.filter(user=user).values("team"))
    )


def _by_share(user: User) -> QuerySet[Share, int]:
    """The highest; whoever only looks in a team only looks at what is shared with it."""
    looks = Membership.objects.filter(user=user, role=Role.VIEWER).values("team")
    level = Case(
        When(team__in=looks, then=Level.VIEW_CONSOLE.value), default=F("level"), output_field=IntegerField()
    )
    return (
        _shares(user)
        .filter(machine=OuterRef("pk"))
        .annotate(mine=level)
        .order_by("-mine")
        .values_list("mine", flat=True)[:1]
    )
