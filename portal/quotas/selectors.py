"""Reading quotas for the pages of the settings."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils import timezone

from portal.accounts.models import User
from portal.quotas.account import Account
from portal.quotas.amounts import LABELS, Amounts, Field, Limits, said, short
from portal.quotas.limits import base_limits, limits_in
from portal.quotas.models import Quota, Raise, Whose
from portal.quotas.usage import used_by_all
from portal.teams.models import Team


@dataclass(frozen=True)
class ListedQuota:
    """A person or a team with what they have, and their own limits where they have some."""

    name: str
    subject: User | Team
    used: Amounts
    limits: Limits
    own: Quota | None
    is_unlimited: bool = False

    @property
    def cells(self) -> list[tuple[str, str, str, bool]]:
        """Label, what there is, the limit, and whether it is passed."""
        found = []
        for field in Field:
            limit, used = self.limits.of(field), self.used.of(field)
            may = _may(field, limit)
            found.append((str(LABELS[field]), short(field, used), may, limit is not None and used > limit))
        return found


def people_listed(query: str = "") -> list[ListedQuota]:
    """The people with what they have. Six queries."""
    return _listed(User.objects.filter(is_active=True, username__icontains=query).order_by("username")[:200])


def teams_listed(query: str = "") -> list[ListedQuota]:
    """The teams with what they have. Six queries."""
    return _listed(Team.objects.filter(name__icontains=query).order_by("name")[:200])


def raise_words(raised: Raise) -> str:
    """Which limits it raises, in words."""
    limits = limits_in(raised)
    return ", ".join(said(field, limit) for field in Field if (limit := limits.of(field)) is not None)


def limits_said(limits: Limits) -> list[tuple[str, str]]:
    """Label and limit of each, for who reads them only."""
    return [(str(LABELS[field]), _may(field, limits.of(field))) for field in Field]


def _may(field: Field, limit: int | None) -> str:
    return "∞" if limit is None else short(field, limit)


def _listed(subjects: object) -> list[ListedQuota]:
    used = used_by_all()
    own = {(row.user_id, row.team_id): row for row in Quota.objects.exclude(user=None, team=None)}
    raised: dict[int, list[Limits]] = {}
    for higher in Raise.objects.filter(ends_on__gte=timezone.now().date()):
        raised.setdefault(higher.user_id, []).append(limits_in(higher))
    people, teams = base_limits(Whose.EVERY_PERSON), base_limits(Whose.EVERY_TEAM)
    found = []
    for each in subjects:  # type: ignore[attr-defined]
        is_team = isinstance(each, Team)
        account = Account(0, each.pk) if is_team else Account(each.pk)
        row = own.get((None, each.pk) if is_team else (each.pk, None))
        free = row is None and not is_team and each.is_staff
        limits = limits_in(row) if row else Limits() if free else teams if is_team else people
        for higher_limits in () if is_team else raised.get(each.pk, ()):
            limits = limits.raised_to(higher_limits)
        found.append(ListedQuota(str(each), each, used.get(account, Amounts()), limits, row, free))
    return found
