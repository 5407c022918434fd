"""How anything is asked of a host: the row locked, the change and its Operation in one transaction, sent on commit."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import EXCLUSIVE, OPEN_STATES, STARTING, Kind, Operation
from portal.audit.services import operation_asked
from portal.fleet.models import Host
from portal.leases.over import refuse_when_over
from portal.live import publish
from portal.machines import dispatch
from portal.machines.models import Disk, Machine
from portal.machines.specs import spec_of
from portal.quotas.hold import hold
from portal.quotas.usage import share_of
from portal.refusal import Refused
from workers.contract.acts import Act
from workers.contract.jobs import Job
from workers.contract.messages import ApplyMachine, DoJob, Observed
from workers.contract.spec import MachineSpec, Power


def wanted(machine: Machine, *, whatever_goes_on: bool = False, also_hibernated: bool = False) -> Machine:
    """The machine's row, locked. Raises Refused where it is being deleted, or where something goes on that has to end first.

    A hibernated machine is refused too unless `also_hibernated`: its memory knows its disks and devices as they are.
    """
    row = Machine.objects.select_for_update(of=("self",)).select_related("host", "disc").get(pk=machine.pk)
    if row.power == Power.GONE:
        raise Refused(_("The machine is being deleted."))
    busy = None if whatever_goes_on else exclusive(row)
    if busy is not None:
        words = _(
            "“%(what)s” is under way for this machine. Wait for its end, or cancel it. Nothing was changed."
        )
        raise Refused(words % {"what": busy.get_kind_display()})
    if row.observed == Observed.SAVED and not (whatever_goes_on or also_hibernated):
        raise Refused(_("The machine is hibernated. Wake it first. Nothing was changed."))
    row.share_before = share_of(row.pk)
    return row


def exclusive(row: Machine) -> Operation | None:
    """What is under way and has to end before anything else is asked."""
    return row.operations.filter(kind__in=EXCLUSIVE, state__in=OPEN_STATES).first()


def changeable(machine: Machine, *, also_hibernated: bool = False) -> Machine:
    """The machine's row, locked, for a change of what it is; raises Refused as `wanted` does, and while it is just starting."""
    row = wanted(machine, also_hibernated=also_hibernated)
    if is_starting(row):
        raise Refused(_("The machine is just starting. Try again when it runs. Nothing was changed."))
    return row


def running(machine: Machine) -> Machine:
    row = wanted(machine)
    if row.observed != Observed.RUNNING:
        raise Refused(_("The machine is not running."))
    return row


def off(machine: Machine) -> Machine:
    """The machine's row, locked, for what needs it to be off and to stay so."""
    row = wanted(machine)
    if row.observed != Observed.OFF or row.power != Power.OFF or is_starting(row):
        raise Refused(_("The machine has to be off for this. Shut it down, then try again."))
    return row


def is_starting(row: Machine) -> bool:
    """The newest wish is that it runs, and its host has not carried it out yet."""
    newest = row.operations.filter(generation=row.generation)
    return newest.filter(kind__in=STARTING, state__in=OPEN_STATES).exists()


def refuse_while_copied(row: Machine) -> None:
    """Raises Refused while a full clone of the machine is being made: nobody may write to its disks meanwhile."""
    copies = Disk.objects.filter(
        origin__kind="copy",
        origin__machine_id=str(row.pk),
        machine__operations__kind__in=STARTING,
        machine__operations__state__in=OPEN_STATES,
    ).select_related("machine")
    copy = copies.first()
    if copy is not None:
        words = _(
            "A full clone of this machine is being made: “%(name)s”. Wait for its end, or delete the clone."
        )
        raise Refused(words % {"name": copy.machine.name})


def change(
    row: Machine,
    kind: Kind,
    by: User | None,
    *,
    act: Act | None = None,
    about: UUID | None = None,
    **changes: object,
) -> Operation:
    """Write a new generation of what is wanted, and its operation; `act` is done once with it, `about` is what it is about."""
    for field, value in changes.items():
        setattr(row, field, value)
    row.generation += 1
    row.save(update_fields=[*changes, "generation"])
    return record(row, kind, by, act=act, about=about, said=changes)


def record(
    machine: Machine,
    kind: Kind,
    by: User | None,
    *,
    act: Act | None = None,
    about: UUID | None = None,
    after: Operation | None = None,
    spec: MachineSpec | None = None,
    said: Mapping[str, object] | None = None,
) -> Operation:
    """The operation of a machine's newest generation, in the outbox; sent when `after` is done. `spec`: another than its rows'.

    `said`: the fields that were changed for it, for the activity.
    """
    if kind in STARTING:
        refuse_when_over(machine.pk)
    operation = Operation(
        kind=kind,
        machine=machine,
        machine_name=machine.name,
        host=machine.host,
        requested_by=by,
        generation=machine.generation,
        about=about,
        after=after,
    )
    spec = spec or spec_of(machine)
    message = ApplyMachine(operation_id=operation.pk, spec=spec, act=act)
    operation.message = message.to_wire()
    operation.save(force_insert=True)
    hold(machine, kind, by, machine.share_before, spec)
    dispatch.send_on_commit(operation)
    transaction.on_commit(lambda: publish.machine_changed(machine.pk))
    operation_asked(operation, by, said)
    return operation


def record_job(host: Host, kind: Kind, by: User | None, *, job: Job, about: UUID | None = None) -> Operation:
    """Ask something of a host that belongs to no machine."""
    operation = Operation(kind=kind, host=host, requested_by=by, about=about)
    operation.message = DoJob(operation_id=operation.pk, job=job).to_wire()
    operation.save(force_insert=True)
    dispatch.send_on_commit(operation)
    operation_asked(operation, by)
    return operation
