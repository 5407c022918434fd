"""What people do with end dates and schedules."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta
from functools import partial

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.audit.actions import Action
from portal.audit.services import of_machine, record
from portal.leases.models import Lease, Schedule
from portal.leases.rules import lease_rules_now
from portal.live import publish
from portal.machines.models import Machine
from portal.refusal import Refused

_AFRESH = {
    "reminded_days": None, "ended_at": None, "off_asked_at": None, "off_forced_at": None, "warned_at": None,
}  # fmt: skip
"""Of an end that is another one now, nothing was said or done yet."""


def lease_grant(*, machine: Machine, until: date, by: User, now: datetime | None = None) -> None:
    """The end that was approved with a machine, in the caller's transaction. Raises Refused where that day has passed."""
    _refuse_past(until, now or timezone.now())
    Lease.objects.create(machine=machine, ends_on=until, granted_until=until)
    _noted(machine, Action.LEASE_SET, by, until)


def lease_set(*, machine: Machine, ends_on: date, by: User, now: datetime | None = None) -> None:
    """Another end date; past what was granted for administrators only. Raises Refused."""
    _refuse_past(ends_on, now or timezone.now())
    lease = Lease.objects.filter(machine=machine).first()
    granted = lease.granted_until if lease else None
    if granted is not None and ends_on > granted and not by.is_administrator:
        words = _(
            "It was granted until %(day)s. Nothing was changed: extend it, or ask an administrator for longer."
        )
        raise Refused(words % {"day": granted.isoformat()})
    if by.is_administrator and machine.owner_id != by.pk:
        granted = ends_on
    with transaction.atomic():
        if lease is None:
            try:
                with transaction.atomic():
                    Lease.objects.create(machine=machine, ends_on=ends_on, granted_until=granted)
            except IntegrityError as exc:
                raise _quicker() from exc
        else:
            _update(lease, ends_on=ends_on, granted_until=granted, **_AFRESH)
        _noted(machine, Action.LEASE_SET, by, ends_on)


def lease_extend(*, machine: Machine, by: User, now: datetime | None = None) -> None:
    """One step longer, from its end or from today, whichever is later. Raises Refused."""
    today = (now or timezone.now()).date()
    lease = Lease.objects.filter(machine=machine).first()
    if lease is None:
        raise Refused(_("The machine has no end date. Nothing was changed."))
    rules = lease_rules_now()
    if not may_extend(lease, by, rules.extensions):
        words = _(
            "It was extended as often as the rules allow (%(times)d). Nothing was changed: ask an administrator for longer."
        )
        raise Refused(words % {"times": rules.extensions})
    ends_on = max(lease.ends_on, today) + timedelta(days=rules.extend_days)
    granted = None if lease.granted_until is None else max(lease.granted_until, ends_on)
    with transaction.atomic():
        _update(lease, ends_on=ends_on, granted_until=granted, extended=lease.extended + 1, **_AFRESH)
        _noted(machine, Action.LEASE_EXTENDED, by, ends_on)


def lease_remove(*, machine: Machine, by: User) -> None:
    """No end date any more; one that was granted is removed by administrators only. Raises Refused."""
    lease = Lease.objects.filter(machine=machine).first()
    if lease is None:
        raise Refused(_("The machine has no end date. Nothing was changed."))
    if not may_remove(lease, by):
        raise Refused(
            _(
                "It was granted until that day. Nothing was changed: only an administrator removes the end date."
            )
        )
    with transaction.atomic():
        if not _as_seen(lease).delete()[0]:
            raise _quicker()
        _noted(machine, Action.LEASE_REMOVED, by, lease.ends_on)


def may_extend(lease: Lease, by: User, extensions: int) -> bool:
    """The person's own choice has no limit; what was granted has one, but for administrators."""
    return by.is_administrator or lease.granted_until is None or lease.extended < extensions


def may_remove(lease: Lease, by: User) -> bool:
    """See lease_remove."""
    return by.is_administrator or lease.granted_until is None


def schedule_set(
    *,
    machine: Machine,
    weekdays: Collection[int],
    from_hour: int,
    to_hour: int,
    by: User,
    now: datetime | None = None,
) -> None:
    """When it runs by itself; nothing happens before the next of its hours. No day: no schedule. Raises Refused."""
    days = "".join(str(day) for day in sorted(set(weekdays)))
    if days and not 0 <= from_hour < to_hour <= 24:
        raise Refused(_("The first hour comes before the last one, both from 0 to 24. Nothing was changed."))
    with transaction.atomic():
        if days:
            values = {
                "weekdays": days, "from_hour": from_hour, "to_hour": to_hour, "done_until": now or timezone.now(),
            }  # fmt: skip
            Schedule.objects.update_or_create(machine=machine, defaults=values)
        else:
            Schedule.objects.filter(machine=machine).delete()
        details = {"weekdays": days, "from": from_hour, "to": to_hour} if days else {"weekdays": ""}
        record(Action.SCHEDULE_SET, by=by, about=of_machine(machine), details=details)
        transaction.on_commit(partial(publish.machine_changed, machine.pk))


def _update(lease: Lease, **changes: object) -> None:
    if not _as_seen(lease).update(**changes):
        raise _quicker()


def _as_seen(lease: Lease) -> QuerySet[Lease]:
    return Lease.objects.filter(
        pk=lease.pk, ends_on=lease.ends_on, extended=lease.extended, deleted_at__isnull=True
    )


def _quicker() -> Refused:
    return Refused(_("Something changed at the same moment. Nothing was changed: please try again."))


def _refuse_past(day: date, now: datetime) -> None:
    if day < now.date():
        raise Refused(_("That day has passed. Nothing was changed: choose today or a later day."))


def _noted(machine: Machine, action: Action, by: User, day: date) -> None:
    record(action, by=by, about=of_machine(machine), details={"day": day.isoformat()})
    transaction.on_commit(partial(publish.machine_changed, machine.pk))
