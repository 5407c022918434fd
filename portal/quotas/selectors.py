"""Reading quotas for the administrator's page."""

from __future__ import annotations

from dataclasses import dataclass

from portal.accounts.models import User
from portal.quotas.account import Account
from portal.quotas.amounts import LABELS, Amounts, Field, Limits, short
from portal.quotas.limits import base_limits, limits_in
from portal.quotas.models import Quota, Whose
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
            may = "∞" if limit is None else short(field, limit)
            found.append((str(LABELS[field]), short(field, used), may, limit is not None and used > limit))
        return found


def people_listed(query: str = "") -> list[ListedQuota]:
    """The people with what they have. Five queries."""
    return _listed(User.objects.filter(is_active=True, username__icontains=query).order_by("username")[:200])


def teams_listed(query: str = "") -> list[ListedQuota]:
    """The teams with what they have. Five queries."""
    return _listed(Team.objects.filter(name__icontains=query).order_by("name")[:200])


def _listed(subjects: object) -> list[ListedQuota]:
    used = used_by_all()
    own = {(row.user_id, row.team_id): row for row in Quota.objects.exclude(user=None, team=None)}
    people, teams = base_limits(Whose.EVERY_PERSON), base_limits(Whose.EVERY_TEAM)
    found = []
    for each in subjects:  # type: ignore[attr-defined]
        is_team = isinstance(each, Team)
        account = Account(0, each.pk) if is_team else Account(each.pk)
        row = own.get((None, each.pk) if is_team else (each.pk, None))
        free = row is None and not is_team and each.is_staff
        limits = limits_in(row) if row else Limits() if free else teams if is_team else people
        found.append(ListedQuota(str(each), each, used.get(account, Amounts()), limits, row, free))
    return found
