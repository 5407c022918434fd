"""What the overview shows: who has what, what waits, what ends when. A fixed number of queries, however many machines."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from django.db.models import Count, Q, Sum
from django.utils import timezone

from portal.leases.models import Lease
from portal.machines.models import Machine
from portal.quotas.models import Grant, Raise
from portal.requests.models import OPEN, Request
from portal.requests.selectors import ListedRequest, listed
from workers.contract.messages import Observed
from workers.contract.spec import Power

MOST_OWNERS = 20
MOST_REQUESTS = 8
MOST_ENDS = 12
ENDS_WITHIN = timedelta(days=30)


@dataclass(frozen=True)
class Counts:
    """The machines of the site."""

    all: int
    running: int
    crashed: int
    """Off because qemu or the host ended them, not a person or their own system."""


@dataclass(frozen=True)
class Owner:
    """Somebody with machines, or a team: how many, and what they were promised.

    `share` is its memory in per cent of that of the one with the most.
    """

    name: str
    is_team: bool
    machines: int
    running: int
    cpus: int
    memory_mib: int
    share: int


def counts() -> Counts:
    """One query."""
    found = Machine.objects.aggregate(
        all=Count("pk"),
        running=Count("pk", filter=Q(observed=Observed.RUNNING)),
        crashed=Count("pk", filter=Q(observed=Observed.OFF, end_reason__in=("crash", "unseen"))),
    )
    return Counts(**found)


def owners() -> list[Owner]:
    """Those with the most memory first. One query."""
    rows = (
        Machine.objects.exclude(power=Power.GONE)
        .order_by()
        .values("team__name", "owner__username", "team")
        .annotate(
            machines=Count("pk"),
            running=Count("pk", filter=Q(observed=Observed.RUNNING)),
            cpus=Sum("cpus"),
            memory=Sum("memory_mib"),
        )
    )
    found: dict[tuple[bool, str], tuple[int, int, int, int]] = {}
    for row in rows:  # a team's machines have several owners
        whose = (True, row["team__name"]) if row["team"] is not None else (False, row["owner__username"])
        machines, running, cpus, memory = found.get(whose, (0, 0, 0, 0))
        found[whose] = (
            machines + row["machines"], running + row["running"], cpus + row["cpus"], memory + row["memory"],
        )  # fmt: skip
    most = max((sums[3] for sums in found.values()), default=1)
    listed_owners = [
        Owner(name, is_team, machines, running, cpus, memory, round(100 * memory / most))
        for (is_team, name), (machines, running, cpus, memory) in found.items()
    ]
    return sorted(listed_owners, key=lambda each: (-each.memory_mib, each.name))[:MOST_OWNERS]


def waiting() -> list[ListedRequest]:
    """The requests that wait longest. One query."""
    rows = Request.objects.filter(state__in=OPEN).select_related("asked_by", "decided_by", "machine", "team")
    return listed(rows.order_by("asked_at")[:MOST_REQUESTS])


@dataclass(frozen=True)
class Ending:
    """Something over a quota that counts to the end of a day only: whose, and for which machine (None: a raised quota)."""

    day: date
    whose: str
    machine: Machine | None


def raises_ending() -> list[Ending]:
    """What was approved for a time and is over soon; the first first. Two queries."""
    today = timezone.now().date()
    soon = {"ends_on__gte": today, "ends_on__lte": today + ENDS_WITHIN}
    raised = Raise.objects.filter(**soon).select_related("user").order_by("ends_on")[:MOST_ENDS]
    granted = (
        Grant.objects.filter(**soon).select_related("machine__owner", "machine__team").order_by("ends_on")
    )
    found = [Ending(each.ends_on, each.user.get_username(), None) for each in raised]
    for each in granted[:MOST_ENDS]:
        if each.ends_on is not None:
            whose = each.machine.team or each.machine.owner
            found.append(Ending(each.ends_on, str(whose), each.machine))
    return sorted(found, key=lambda ending: ending.day)[:MOST_ENDS]


def endings() -> list[Lease]:
    """The machines whose time runs out soon, or is over and not taken away yet; the first first. One query."""
    soon = timezone.now().date() + ENDS_WITHIN
    rows = Lease.objects.filter(ends_on__lte=soon, deleted_at=None).exclude(machine__power=Power.GONE)
    return list(rows.select_related("machine__owner", "machine__team").order_by("ends_on")[:MOST_ENDS])
