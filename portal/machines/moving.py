"""Moving a disk to another pool and making it growing or fixed. The rows follow when the host has done it, not before."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.machines.asking import off, record
from portal.machines.models import Disk, Machine
from portal.machines.room import needs_room_in_pool
from portal.machines.specs import spec_of
from portal.refusal import Refused
from workers.contract.disks import MIB, DiskKind
from workers.contract.errors import MessageError
from workers.contract.messages import ApplyMachine, OperationState, Progress
from workers.contract.version import from_wire


def disk_move(*, machine: Machine, disk_id: UUID, kind: DiskKind, pool: str, by: User) -> Operation:
    """Have a disk lie in another pool (empty: beside the machine), or be of another kind; what it stands on becomes its own.

    Raises Refused.
    """
    with transaction.atomic():
        row = off(machine)
        disk = Disk.objects.filter(machine=row, pk=disk_id).first()
        if disk is None:
            raise Refused(_("The machine has no such disk any more."))
        refuse_with_snapshots(row)
        if disk.kind == kind and disk.pool == pool and disk.base_id is None:
            raise Refused(_("The disk is there and of that kind already."))
        wanted_mib = disk.size_bytes // MIB if kind is DiskKind.FIXED else 0
        if pool:
            needs_room_in_pool(row.host, pool, wanted_mib)
        elif wanted_mib > row.host.disk_free_mib:
            words = _("The host has only %(free)d GB of disk space free. Nothing was changed.")
            raise Refused(words % {"free": row.host.disk_free_mib // 1024})
        row.generation += 1
        row.save(update_fields=["generation"])
        # Until it is done the rows say where the disk is, so that a cancel leaves it there.
        spec = spec_of(row)
        after = {"kind": kind, "pool": pool or None, "origin": None}
        disks = tuple(each.model_copy(update=after) if each.id == disk.pk else each for each in spec.disks)
        changed = spec.model_copy(update={"disks": disks})
        return record(row, Kind.MOVE_DISK, by, about=disk.pk, spec=changed)


def refuse_with_snapshots(row: Machine) -> None:
    """Raises Refused where the machine has snapshots: they lie in its disks' files and would not come along."""
    if row.snapshots.exists():
        raise Refused(
            _("The machine has snapshots, which would be lost. Delete them first. Nothing was changed.")
        )


def settle_move(operation: Operation, progress: Progress) -> None:
    """It was done: the disk is there. A newer wish, as a cancel is, says by itself where it shall be."""
    machine = operation.machine
    if (
        progress.state is not OperationState.DONE
        or machine is None
        or machine.generation != operation.generation
    ):
        return
    try:
        spec = from_wire(ApplyMachine, operation.message).spec
    except MessageError:
        return  # of an older contract, which moved no disks
    for disk in spec.disks:
        if disk.id == operation.about:
            rows = Disk.objects.filter(pk=disk.id, machine=machine)
            rows.update(kind=disk.kind, pool=disk.pool or "", base=None, image=None, origin=None)
