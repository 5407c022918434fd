"""What time does with machines that have an end date: reminders, the end, off, deleted; each once, with a notice and a line.

Each step is a conditional update in the transaction of what it does: two walks at once, or an extension at the same
moment, leave one winner.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.audit.actions import Action
from portal.audit.services import of_machine, record
from portal.leases.models import Lease, LeaseRules
from portal.leases.rules import lease_rules_now
from portal.machines.asking import wanted
from portal.machines.people import people_of
from portal.machines.services import machine_delete, machine_force_off, machine_shut_down
from portal.notices.services import tell
from portal.refusal import Refused
from workers.contract.messages import Observed
from workers.contract.spec import Power

FORCED_AFTER = timedelta(minutes=10)
"""A system that has not shut down by then is cut off."""

log = structlog.get_logger()


def leases_walk(*, now: datetime | None = None) -> None:
    """Do what is due."""
    at = now or timezone.now()
    rules = lease_rules_now()
    soon = at.date() + timedelta(days=max(rules.first_reminder_days, rules.last_reminder_days))
    due = Lease.objects.filter(ends_on__lte=soon, deleted_at=None).exclude(machine__power=Power.GONE)
    for lease in due.select_related("machine__owner", "machine__host").order_by("ends_on"):
        try:
            _step(lease, rules, at)
        except Refused as refusal:  # a backup is being taken, say; the next walk tries again
            log.info("a lease's step has to wait", machine=str(lease.machine_id), why=refusal.message)
        except Exception:  # one machine in trouble keeps no other from its reminder
            log.exception("a lease's step failed", machine=str(lease.machine_id))


def _step(lease: Lease, rules: LeaseRules, now: datetime) -> None:
    if lease.ends_on >= now.date():
        _remind(lease, rules, now)
    elif lease.ended_at is None:
        _end(lease, rules, now)
    elif now >= lease.ended_at + timedelta(days=rules.grace_days):
        _delete(lease, now)
    else:
        _warn(lease, rules, now)
        _keep_off(lease, now)


def _remind(lease: Lease, rules: LeaseRules, now: datetime) -> None:
    left = (lease.ends_on - now.date()).days
    steps = [days for days in (rules.first_reminder_days, rules.last_reminder_days) if left <= days]
    if not steps:
        return
    step = min(steps)
    not_yet = Q(reminded_days=None) | Q(reminded_days__gt=step)
    with transaction.atomic():
        if not _now_as(lease, not_yet, reminded_days=step):
            return
        when = ngettext("in %(days)d day", "in %(days)d days", left) % {"days": left} if left else _("today")
        then = _("It is shut down then. Extend it on its page, if you still need it.")
        _said(lease, "lease_ends", Action.LEASE_REMINDED, when=when, then=then)


def _end(lease: Lease, rules: LeaseRules, now: datetime) -> None:
    with transaction.atomic():
        if not _now_as(lease, Q(ended_at=None), ended_at=now):
            return
        day = (now + timedelta(days=rules.grace_days)).date()
        _said(lease, "lease_over", Action.LEASE_OVER, day=day.isoformat())
    lease.ended_at = now
    _keep_off(lease, now)


def _warn(lease: Lease, rules: LeaseRules, now: datetime) -> None:
    if lease.ended_at is None or rules.grace_days < 2:
        return
    day = lease.ended_at + timedelta(days=rules.grace_days)
    if now < day - timedelta(days=1):
        return
    with transaction.atomic():
        if _now_as(lease, Q(warned_at=None), warned_at=now):
            _said(lease, "lease_over", Action.LEASE_REMINDED, day=day.date().isoformat())


def _keep_off(lease: Lease, now: datetime) -> None:
    """Shut it down, cut it off where it does not; again where something has started it in spite of its end."""
    machine = lease.machine
    if machine.observed in (Observed.OFF, Observed.SAVED):
        if lease.off_asked_at is not None:
            _now_as(lease, Q(), off_asked_at=None, off_forced_at=None)
    elif machine.observed in (Observed.RUNNING, Observed.PAUSED):
        asked = lease.off_asked_at
        with transaction.atomic():
            if asked is None and machine.observed == Observed.RUNNING:
                if _now_as(lease, Q(off_asked_at=None), off_asked_at=now):
                    machine_shut_down(machine=machine, by=None)
            elif asked is None or now >= asked + FORCED_AFTER:
                changes = {"off_asked_at": asked or now, "off_forced_at": now}
                if _now_as(lease, Q(off_forced_at=None), **changes):
                    machine_force_off(machine=machine, by=None)


def _delete(lease: Lease, now: datetime) -> None:
    with transaction.atomic():
        if not _now_as(lease, Q(), deleted_at=now):
            return
        wanted(lease.machine, also_hibernated=True)  # refuses while a backup, say, is under way
        _said(lease, "lease_deleted", Action.LEASE_DELETED, link="/machines/")
        machine_delete(machine=lease.machine, name=lease.machine.name, by=None)


def _now_as(lease: Lease, still: Q, **changes: Any) -> bool:
    """Note the step where the lease is as it was read; False where somebody was quicker."""
    as_read = Lease.objects.filter(pk=lease.pk, ends_on=lease.ends_on, deleted_at__isnull=True)
    return bool(as_read.filter(still).update(**changes))


def _said(lease: Lease, kind: str, action: Action, *, link: str = "", **values: str) -> None:
    machine = lease.machine
    record(action, about=of_machine(machine), details={"ends_on": lease.ends_on.isoformat()})
    tell(people_of(machine), kind, link=link or f"/machines/{machine.pk}/", machine=machine.name, **values)
