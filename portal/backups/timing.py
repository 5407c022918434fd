"""When a plan is due next. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from portal.backups.models import Every


def next_time(every: str, weekday: int, at: time, after: datetime) -> datetime:
    """The first time of the plan that is later than `after`, in UTC. What was missed is not made up for one by one."""
    day = after.astimezone(UTC).date()
    step = timedelta(days=1)
    while True:
        found = datetime.combine(day, at, UTC)
        if found > after and (every == Every.DAY or day.weekday() == weekday):
            return found
        day += step
