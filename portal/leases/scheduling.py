"""Starting and shutting down by the clock, once an edge; what a person does between two edges is left alone."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.utils import timezone

from portal.audit.actions import Action, Result
from portal.audit.services import of_machine, record
from portal.leases.models import Schedule
from portal.leases.timing import Edge, last_edge
from portal.machines.asking import is_starting
from portal.machines.models import Machine
from portal.machines.power import machine_wake
from portal.machines.services import machine_shut_down, machine_start
from portal.refusal import Refused
from workers.contract.messages import Observed
from workers.contract.spec import Power

_TRIED_FOR = timedelta(hours=1)
"""What is in the way, a backup or a full quota, may be over by then."""

log = structlog.get_logger()


def schedules_run(*, now: datetime | None = None) -> None:
    """Do what is due. Of what was missed only the newest edge counts."""
    at = now or timezone.now()
    for schedule in Schedule.objects.exclude(machine__power=Power.GONE).select_related("machine"):
        edge = last_edge(schedule.weekdays, schedule.from_hour, schedule.to_hour, at)
        if edge is None or edge.at <= schedule.done_until:
            continue
        try:
            with transaction.atomic():
                if _is_ours(schedule, edge):
                    _follow(schedule.machine, edge)
        except Refused as refusal:
            log.info("a schedule has to wait", machine=str(schedule.machine_id), why=refusal.message)
            if at >= edge.at + _TRIED_FOR:
                _give_up(schedule, edge, refusal)
        except Exception:  # one machine in trouble keeps no other from its hours
            log.exception("a schedule failed", machine=str(schedule.machine_id))


def _is_ours(schedule: Schedule, edge: Edge) -> bool:
    """False where another walk was quicker, or somebody has set other hours."""
    same = Schedule.objects.filter(pk=schedule.pk, done_until=schedule.done_until)
    return bool(same.update(done_until=edge.at))


def _follow(machine: Machine, edge: Edge) -> None:
    if not edge.starts:
        if machine.observed == Observed.RUNNING and machine.power != Power.OFF:
            machine_shut_down(machine=machine, by=None)
    elif machine.observed == Observed.SAVED:
        machine_wake(machine=machine, by=None)
    elif machine.observed == Observed.OFF and not is_starting(machine):
        machine_start(machine=machine, by=None)


def _give_up(schedule: Schedule, edge: Edge, refusal: Refused) -> None:
    with transaction.atomic():
        if _is_ours(schedule, edge):
            record(
                Action.SCHEDULE_MISSED,
                about=of_machine(schedule.machine),
                result=Result.REFUSED,
                details={"why": refusal.message},
            )
