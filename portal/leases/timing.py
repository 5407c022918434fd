"""When a schedule starts and shuts down its machine. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta


@dataclass(frozen=True, order=True)
class Edge:
    """A moment at which a machine is to start, or to shut down."""

    at: datetime
    starts: bool


def last_edge(weekdays: Collection[str], from_hour: int, to_hour: int, now: datetime) -> Edge | None:
    """The newest one that is not to come; of two at the same moment the start. None where no day is chosen."""
    today = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    days = (today - timedelta(days=back) for back in range(9))
    edges = (
        edge
        for day in days
        if str(day.weekday()) in weekdays
        for edge in (
            Edge(day + timedelta(hours=from_hour), True),
            Edge(day + timedelta(hours=to_hour), False),
        )
    )
    return max((edge for edge in edges if edge.at <= now), default=None)
