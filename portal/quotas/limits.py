"""How much an account may have."""

from __future__ import annotations

from django.db.models import Q

from portal.accounts.models import User
from portal.quotas.account import Account
from portal.quotas.amounts import Field, Limits
from portal.quotas.models import Quota, Whose
from portal.quotas.usage import granted_to
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

    With what was approved beside it, unless told otherwise. At most three queries.
    """
    base = _base(account)
    return base if base.are_none or not granted else base.and_granted(granted_to(account))


def base_limits(whose: Whose) -> Limits:
    """What counts for all that have no quota of their own. One query."""
    row = Quota.objects.filter(whose=whose).first()
    return limits_in(row) if row is not None else TO_BEGIN_WITH[whose]


def limits_in(row: Quota) -> Limits:
    """The row's columns."""
    return Limits(**{each: getattr(row, each) for each in Field})


def _base(account: Account) -> Limits:
    own, others = (
        (Q(team=account.team_id), Whose.EVERY_TEAM)
        if account.team_id is not None
        else (Q(user=account.user_id), Whose.EVERY_PERSON)
    )
    rows = list(Quota.objects.filter(own | Q(whose=others)))
    mine = next((row for row in rows if row.whose in (Whose.PERSON, Whose.TEAM)), None)
    if mine is not None:
        return limits_in(mine)
    if account.team_id is None and User.objects.filter(pk=account.user_id, is_staff=True).exists():
        return Limits()
    return limits_in(rows[0]) if rows else TO_BEGIN_WITH[others]
