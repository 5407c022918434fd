"""What is asked of all machines of a class together. Each is asked by itself: what one cannot do hinders no other."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from django.db import transaction
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.audit.actions import Action
from portal.audit.services import record
from portal.classes.making import of_class
from portal.classes.models import Class, Member
from portal.machines import power, renewing, services
from portal.machines.models import Machine
from portal.machines.selectors import machines_for
from portal.refusal import Refused
from portal.rights.levels import Level
from portal.rights.scope import level_of
from portal.rights.table import RIGHTS


@dataclass(frozen=True)
class Answer:
    """Of how many something was asked, and of whom not and why."""

    asked: int
    refused: tuple[str, ...]


def _delete(*, machine: Machine, by: User) -> Operation:
    return services.machine_delete(machine=machine, name=machine.name, by=by)


_ACTS: dict[Kind, tuple[Callable[..., Operation], str]] = {
    Kind.START: (services.machine_start, "machines:start"),
    Kind.SHUT_DOWN: (services.machine_shut_down, "machines:shut-down"),
    Kind.FORCE_OFF: (services.machine_force_off, "machines:force-off"),
    Kind.RESET: (power.machine_reset, "machines:reset"),
    Kind.RENEW: (renewing.machine_renew, "machines:renew"),
    Kind.DELETE: (_delete, "machines:delete"),
}
"""The service, and the address whose level a person needs of each machine."""

TOGETHER = (Kind.START, Kind.SHUT_DOWN, Kind.FORCE_OFF, Kind.RESET, Kind.RENEW)
"""What needs nothing typed."""


def class_act(*, row: Class, kind: Kind, by: User) -> Answer:
    """Ask it of each machine, each in a transaction of its own; who cannot is named."""
    service, address = _ACTS[kind]
    needed = RIGHTS[address].changes
    Class.objects.filter(pk=row.pk).update(act=kind)
    record(Action.CLASS_ACTED, by=by, about=of_class(row), details={"what": kind.value})
    members = list(row.members.select_related("machine"))
    mine = {
        each.pk: level_of(each) for each in machines_for(by).filter(pk__in=[m.machine_id for m in members])
    }
    asked, refused = 0, []
    for member in members:
        operation, why = None, _("It has no machine any more.")
        machine = member.machine
        if machine is not None:
            level = mine.get(machine.pk)
            try:
                if level is None or not isinstance(needed, Level) or level < needed:
                    raise Refused(_("You may not do that with this machine."))
                operation, why = service(machine=machine, by=by), ""
            except Machine.DoesNotExist:
                pass
            except Refused as refusal:
                why = refusal.message
        Member.objects.filter(pk=member.pk).update(operation=operation, refusal=why)
        asked += operation is not None
        if operation is None and machine is not None:
            refused.append(f"{member.machine_name}: {why}")
    return Answer(asked, tuple(refused))


def machines_delete(*, row: Class, name: str, by: User) -> Answer:
    """Delete all machines of the class. `name` is the class's, typed by the person. Raises Refused."""
    if unicodedata.normalize("NFC", name.strip()) != row.name:
        raise Refused(_("The name does not match. Nothing was deleted."), "name")
    return class_act(row=row, kind=Kind.DELETE, by=by)


def class_remove(*, row: Class, by: User) -> None:
    """Take a class without machines off the list. Raises Refused."""
    with transaction.atomic():
        locked = Class.objects.select_for_update(of=("self",)).filter(pk=row.pk).first()
        if locked is None:
            return
        if locked.members.exclude(machine=None).exists():
            raise Refused(_("The class has machines. Delete them first. Nothing was changed."))
        record(Action.CLASS_REMOVED, by=by, about=of_class(locked))
        locked.delete()
