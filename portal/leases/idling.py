"""Machines that run and do nothing: pointed out to who has them, a week later to the administrators."""

from __future__ import annotations

import math
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.translation import ngettext

from portal.audit.actions import Action
from portal.audit.services import of_machine, record
from portal.figures.packing import FIELDS, QUARTERS, pairs_of
from portal.figures.selectors import Subject
from portal.leases.models import Idle
from portal.leases.rules import lease_rules_now
from portal.machines.models import Machine
from portal.machines.people import people_of
from portal.notices.services import administrators, tell
from workers.contract.messages import Observed
from workers.contract.spec import Power

CPU_PERCENT = 2
NET_BYTES = 1000
"""A second, both ways: what neighbours and the network itself say all the time stays below."""

_KNOWN = 0.9
"""The part of the time of which something has to be known."""

_PATIENCE = timedelta(days=7)
_CPU, _IN, _OUT = (FIELDS.index(name) for name in ("cpu_own_percent", "net_in_bytes", "net_out_bytes"))


def idle_find(*, now: datetime | None = None) -> None:
    """Look at every machine that runs. A query a machine."""
    at = now or timezone.now()
    days = lease_rules_now().idle_days
    machines = Machine.objects.filter(observed=Observed.RUNNING).exclude(power=Power.GONE)
    Idle.objects.exclude(machine__in=machines).delete()
    for machine in machines.select_related("owner", "idle"):
        if is_idle(machine.host_id, machine.pk, days=days, now=at):
            _point_out(machine, days, at)
        else:
            Idle.objects.filter(machine=machine).delete()


def is_idle(host_id: int, machine_id: UUID, *, days: int, now: datetime) -> bool:
    """It ran through the last `days` whole days, and took nearly nothing. One query."""
    midnight = int(datetime.combine(now.astimezone(UTC).date(), time(), UTC).timestamp())
    since = midnight - days * 86_400
    points = [
        average
        for start, packed in Subject(host_id, machine_id).stretches(QUARTERS, since)
        for moment, (average, _largest) in pairs_of(packed, QUARTERS, start).items()
        if since <= moment < midnight
    ]
    wanted = _KNOWN * days * 86_400 / QUARTERS
    cpu = [point[_CPU] for point in points if not math.isnan(point[_CPU])]
    net = [point[_IN] + point[_OUT] for point in points if not math.isnan(point[_IN] + point[_OUT])]
    if len(cpu) < wanted or len(net) < wanted:
        return False
    return sum(cpu) / len(cpu) < CPU_PERCENT and sum(net) / len(net) < NET_BYTES


def _point_out(machine: Machine, days: int, now: datetime) -> None:
    with transaction.atomic():
        idle, is_new = Idle.objects.get_or_create(machine=machine, defaults={"found_at": now})
        people = people_of(machine)
        if not is_new:
            due = Idle.objects.filter(pk=idle.pk, administrators_told_at=None, found_at__lte=now - _PATIENCE)
            if not due.update(administrators_told_at=now):
                return
            people = administrators()
            days += (now - idle.found_at).days
        since = ngettext("%(days)d day", "%(days)d days", days) % {"days": days}
        record(Action.MACHINE_IDLE, about=of_machine(machine), details={"days": days})
        tell(people, "machine_idle", link=f"/machines/{machine.pk}/", machine=machine.name, since=since)
