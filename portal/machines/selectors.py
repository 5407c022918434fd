"""Reading machines, always scoped to what a person may see."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Prefetch, Q, QuerySet
from django.http import Http404

from portal.accounts.models import User
from portal.activity.models import Operation
from portal.activity.selectors import newest_operations
from portal.figures.selectors import Now, now_of
from portal.machines.guest import guest_of
from portal.machines.models import Disk, Machine, Nic
from portal.machines.status import Seen, Status, status_of
from portal.rights.levels import Level
from portal.rights.scope import level_of, seen_by
from portal.rights.table import RIGHTS
from portal.teams.models import Team
from workers.contract.messages import Observed

_MOST_OTHER_ADDRESSES = 3
_LISTED = (
    *("name", "cpus", "memory_mib", "power", "observed", "end_reason", "paused_for", "agent"),
    *("host__name", "host__last_seen", "owner__username", "team__name", "screen__taken_at"),
)
"""What a row of the list is made of: a person looks at fifty of them, and most of a row of the table is not on the page."""

PICTURE_SECONDS = 600
"""An older picture of a screen shows nothing that is true any more."""


@dataclass(frozen=True)
class ListedMachine:
    """A row of the list."""

    id: UUID
    name: str
    home: str
    """Whose it is: a person's name or a team's."""
    level: Level
    host_name: str
    cpus: int
    memory_mib: int
    disk_bytes: int
    addresses: tuple[str, ...]
    system: str
    status: Status
    screen_at: int | None = None
    """When its screen was looked at last, 0 where not lately; None where it has none to show."""
    now: Now | None = None
    """What it takes; None where it does not run, or that is not known."""


def machines_for(user: User, *, query: str = "") -> QuerySet[Machine]:
    """The machines that a person sees: their own, their teams', those shared with them, all for who sees everything.

    Each has the person's level (`level_of`), in the same query. `query` looks in names and addresses.
    """
    machines = seen_by(user, Machine.objects.all(), shared=True)
    if query:
        found = Q(name__icontains=query) | Q(nics__address__icontains=query)
        found |= Q(nics__address6__icontains=query) | Q(nics__leased_address__icontains=query)
        found |= Q(team__name__icontains=query)
        if user.is_auditor:
            found |= Q(owner__username__icontains=query) | Q(host__name__icontains=query)
        machines = machines.filter(found).distinct()
    return machines.order_by("name", "id")


def machine_for(user: User, machine_id: UUID) -> Machine:
    """The machine, with host, owner and disc. Raises Http404 where the person may not see it."""
    machine = (
        machines_for(user)
        .select_related("host", "owner", "team", "disc", "second_disc", "lease", "schedule")
        .filter(pk=machine_id)
        .first()
    )
    if machine is None:
        raise Http404
    return machine


def machines_of_team(user: User, team: Team) -> QuerySet[Machine]:
    """The team's, of those that the person sees."""
    return machines_for(user).filter(team=team).select_related("owner", "host")


def machine_level(user: User, machine_id: UUID) -> Level | None:
    """What the person may do with the machine; None where they do not see it. One query."""
    machine = machines_for(user).filter(pk=machine_id).only("pk").first()
    return None if machine is None else level_of(machine)


def listed(machines: QuerySet[Machine] | Iterable[Machine]) -> list[ListedMachine]:
    """Rows of the list. Five queries, however many rows."""
    if isinstance(machines, QuerySet):
        rows = list(
            machines.select_related("host", "owner", "team", "screen")
            .prefetch_related(
                Prefetch("nics", Nic.objects.only("machine", "address", "address6", "leased_address")),
                Prefetch("disks", Disk.objects.only("machine", "size_bytes")),
            )
            .only(*_LISTED)
        )
    else:
        rows = list(machines)
    newest = newest_operations(row.pk for row in rows)
    alive: dict[int, list[UUID]] = {}
    for row in rows:
        if row.observed in (Observed.RUNNING, Observed.PAUSED):
            alive.setdefault(row.host_id, []).append(row.pk)
    taken = now_of(alive) if alive else {}
    return [_listed(row, newest.get(row.pk), taken.get(row.pk)) for row in rows]


def status_with(machine: Machine, newest: Operation | None) -> Status:
    """The machine's status; no query where host is fetched with it."""
    return status_of(
        Seen(
            wanted=machine.power,
            observed=machine.observed,
            end_reason=machine.end_reason,
            paused_for=machine.paused_for,
            newest_kind=newest.kind if newest else "",
            newest_state=newest.state if newest else "",
            host_is_silent=machine.host.is_silent,
            host=machine.host.name,
        )
    )


def _listed(row: Machine, newest: Operation | None, now: Now | None) -> ListedMachine:
    nics = list(row.nics.all())
    guest = guest_of(row, nics)
    level = level_of(row)
    others = guest.others[:_MOST_OTHER_ADDRESSES] if guest else ()
    return ListedMachine(
        id=row.pk,
        name=row.name,
        home=row.team.name if row.team is not None else row.owner.username,
        level=level,
        host_name=row.host.name,
        cpus=row.cpus,
        memory_mib=row.memory_mib,
        disk_bytes=sum(disk.size_bytes for disk in row.disks.all()),
        addresses=tuple(
            dict.fromkeys((*filter(None, (nic.address or nic.leased_address for nic in nics)), *others))
        ),
        system=guest.system if guest else "",
        status=status_with(row, newest),
        screen_at=_screen_at(row) if level >= RIGHTS["machines:screen"].looking else None,
        now=now,
    )


def _screen_at(row: Machine) -> int | None:
    if row.observed not in (Observed.RUNNING, Observed.PAUSED):
        return None
    screen = getattr(row, "screen", None)
    is_new = screen is not None and screen.taken_at >= time.time() - PICTURE_SECONDS
    return screen.taken_at if screen is not None and is_new else 0
