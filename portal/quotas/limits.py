"""How much an account may have."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import FilteredRelation, Q, QuerySet
from django.utils import timezone

from portal.accounts.models import User
from portal.quotas.account import Account
from portal.quotas.amounts import NOTHING, Field, Limits
from portal.quotas.models import Quota, Raise, Whose
from portal.quotas.usage import granted_to, granted_to_teams
from workers.contract.spec import GIB

TO_BEGIN_WITH = {
    Whose.EVERY_PERSON: Limits(
        machines=50, running=50, cpus=100, memory_mib=256 * 1024, disk_bytes=4096 * GIB, snapshots=100,
        published_ports=100,
    ),
    Whose.EVERY_TEAM: Limits(
        machines=100, running=100, cpus=200, memory_mib=512 * 1024, disk_bytes=20 * 1024 * GIB, snapshots=500,
        published_ports=500,
    ),
}  # fmt: skip
"""What counts until an administrator says something else."""


def limits_of(account: Account, *, granted: bool = True) -> Limits:
    """The account's own quota, else that of all others; an administrator without one of their own has no limit.

    With what was approved beside it for now, unless told otherwise. At most three queries.
    """
    base, raises = _of_team(account.team_id) if account.team_id is not None else _of_person(account.user_id)
    if base.are_none or not granted:
        return base
    for each in raises:
        base = base.raised_to(each)
    return base.and_granted(granted_to(account))


def limits_of_teams(teams: Collection[int]) -> dict[int, Limits]:
    """The same for each of these teams. Two queries, however many they are."""
    rows = list(Quota.objects.filter(Q(team__in=teams) | Q(whose=Whose.EVERY_TEAM)))
    own = {row.team_id: limits_in(row) for row in rows if row.team_id is not None}
    others = next((limits_in(row) for row in rows if row.team_id is None), TO_BEGIN_WITH[Whose.EVERY_TEAM])
    granted = granted_to_teams(teams)
    return {team: own.get(team, others).and_granted(granted.get(team, NOTHING)) for team in teams}


def raises_of(account: Account) -> QuerySet[Raise]:
    """The person's larger limits that are not over; a team has none. One query."""
    if account.team_id is not None:
        return Raise.objects.none()
    return Raise.objects.filter(user=account.user_id, ends_on__gte=timezone.now().date())


def base_limits(whose: Whose) -> Limits:
    """What counts for all that have no quota of their own. One query."""
    row = Quota.objects.filter(whose=whose).first()
    return limits_in(row) if row is not None else TO_BEGIN_WITH[whose]


def limits_in(row: Quota | Raise) -> Limits:
    """The row's columns."""
    return Limits(**{each: getattr(row, each) for each in Field})


def _of_team(team_id: int) -> tuple[Limits, list[Limits]]:
    mine, others = _own_and_others(Q(team=team_id), Whose.EVERY_TEAM)
    return mine or others, []


def _of_person(user_id: int) -> tuple[Limits, list[Limits]]:
    """What counts for ever, and the larger limits of now."""
    mine, others = _own_and_others(Q(user=user_id), Whose.EVERY_PERSON)
    lasting = FilteredRelation("raises", condition=Q(raises__ends_on__gte=timezone.now().date()))
    columns = ("is_staff", "lasting__pk", *(f"lasting__{each}" for each in Field))
    rows = list(User.objects.filter(pk=user_id).annotate(lasting=lasting).values_list(*columns))
    is_staff = bool(rows and rows[0][0])
    raises = [
        Limits(**dict(zip(Field, limits, strict=True))) for _staff, pk, *limits in rows if pk is not None
    ]
    return mine or (Limits() if is_staff else others), raises


def _own_and_others(own: Q, whose: Whose) -> tuple[Limits | None, Limits]:
    """The account's own quota, and that of all that have none."""
    rows = list(Quota.objects.filter(own | Q(whose=whose)))
    mine = next((limits_in(row) for row in rows if row.whose in (Whose.PERSON, Whose.TEAM)), None)
    others = next((limits_in(row) for row in rows if row.whose == whose), TO_BEGIN_WITH[whose])
    return mine, others
