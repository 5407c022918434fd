"""What a machine's page shows of its end date and its schedule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.utils import timezone

from portal.accounts.models import User
from portal.leases.models import WEEKDAYS, Lease, LeaseRules, Schedule
from portal.leases.rules import lease_rules_now
from portal.leases.services import may_extend, may_remove
from portal.machines.models import Machine


@dataclass(frozen=True)
class LeaseCard:
    """`days_left` is negative where it is over; `deleted_on` is known then."""

    lease: Lease | None
    schedule: Schedule | None
    today: date
    days_left: int
    is_over: bool
    deleted_on: date | None
    extend_days: int
    extensions_left: int | None
    """None: no limit."""
    may_extend: bool
    may_remove: bool
    weekdays: list[tuple[int, Any, bool]]
    """Number, word, chosen."""
    from_hour: int
    to_hour: int


def lease_card(machine: Machine, user: User) -> LeaseCard:
    """Of a machine that `machine_for` has fetched with both; a query for the rules where it has an end date."""
    lease: Lease | None = getattr(machine, "lease", None)
    schedule: Schedule | None = getattr(machine, "schedule", None)
    rules = lease_rules_now() if lease else LeaseRules()
    today = timezone.now().date()
    ended = lease.ended_at if lease else None
    limited = lease is not None and lease.granted_until is not None and not user.is_administrator
    chosen = schedule.weekdays if schedule else ""
    return LeaseCard(
        lease=lease,
        schedule=schedule,
        today=today,
        days_left=(lease.ends_on - today).days if lease else 0,
        is_over=lease is not None and lease.ends_on < today,
        deleted_on=(ended + timedelta(days=rules.grace_days)).date() if ended else None,
        extend_days=rules.extend_days,
        extensions_left=max(0, rules.extensions - lease.extended) if lease and limited else None,
        may_extend=lease is not None and may_extend(lease, user, rules.extensions),
        may_remove=lease is not None and may_remove(lease, user),
        weekdays=[(number, word, str(number) in chosen) for number, word in WEEKDAYS],
        from_hour=schedule.from_hour if schedule else 8,
        to_hour=schedule.to_hour if schedule else 18,
    )
