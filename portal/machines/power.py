"""Standing still and going on: pause, resume, hibernate, wake, reset, and what happens after the host's reboot."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.machines.asking import change, is_starting, running, wanted
from portal.machines.models import Machine
from portal.refusal import Refused
from workers.contract.acts import Reset, Resume
from workers.contract.messages import Observed, PauseReason
from workers.contract.spec import Autostart, Power


def machine_pause(*, machine: Machine, by: User) -> Operation:
    """Let its processors stand still; its memory is kept as it is. Raises Refused."""
    with transaction.atomic():
        row = running(machine)
        return change(row, Kind.PAUSE, by, power=Power.PAUSED)


def machine_resume(*, machine: Machine, by: User) -> Operation:
    """Let it go on, whatever made it stand still. Raises Refused."""
    with transaction.atomic():
        row = wanted(machine)
        if row.observed != Observed.PAUSED:
            raise Refused(_("The machine does not stand still."))
        if row.paused_for == PauseReason.PANIC:
            raise Refused(_("Its system has crashed and cannot go on. Reset the machine, or force it off."))
        act = None if row.paused_for == PauseReason.PERSON else Resume()
        return change(row, Kind.RESUME, by, act=act, power=Power.RUNNING)


def machine_reset(*, machine: Machine, by: User) -> Operation:
    """Press its reset button. Raises Refused."""
    with transaction.atomic():
        row = wanted(machine)
        if row.observed not in (Observed.RUNNING, Observed.PAUSED):
            raise Refused(_("The machine is not running."))
        return change(row, Kind.RESET, by, act=Reset(), power=Power.RUNNING)


def machine_hibernate(*, machine: Machine, by: User) -> Operation:
    """Save its memory on the host's disk and end it there. Raises Refused."""
    with transaction.atomic():
        row = wanted(machine)
        is_paused = row.observed == Observed.PAUSED and row.paused_for == PauseReason.PERSON
        if row.observed != Observed.RUNNING and not is_paused:
            raise Refused(_("The machine is not running."))
        return change(row, Kind.SAVE, by, power=Power.SAVED)


def machine_wake(*, machine: Machine, by: User | None) -> Operation:
    """Let a hibernated machine go on where it stood. Raises Refused."""
    with transaction.atomic():
        row = _hibernated(machine)
        return change(row, Kind.WAKE, by, power=Power.RUNNING)


def machine_start_anew(*, machine: Machine, by: User) -> Operation:
    """Throw the saved memory of a hibernated machine away and start it from its disk. Raises Refused."""
    with transaction.atomic():
        row = _hibernated(machine)
        return change(row, Kind.START, by, power=Power.RUNNING, run=row.run + 1)


def machine_set_autostart(*, machine: Machine, autostart: Autostart, by: User) -> Operation:
    """What happens to it when its host has been restarted. Raises Refused."""
    with transaction.atomic():
        row = wanted(machine, also_hibernated=True)
        if row.autostart == autostart:
            raise Refused(_("It is set like this already."))
        return change(row, Kind.CHANGE, by, autostart=autostart)


def _hibernated(machine: Machine) -> Machine:
    row = wanted(machine, also_hibernated=True)
    if row.observed != Observed.SAVED:
        raise Refused(_("The machine is not hibernated."))
    if is_starting(row):
        raise Refused(_("The machine is being started already."))
    return row
