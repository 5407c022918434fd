"""Changing a machine's hardware: its size, its disks and network cards, and what it starts from.

What a running machine can take at once its host gives it at once; the rest counts from its next start on, and its
host says what that is. A disk or card that is removed keeps its row, marked as leaving, until its host has done it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.fleet.models import Host
from portal.fleet.selectors import candidates
from portal.machines.address_locks import tell_of_lost_lock
from portal.machines.asking import change, changeable, refuse_while_copied
from portal.machines.cards import plug_in
from portal.machines.homes import TAKEN, refuse_taken_name
from portal.machines.models import Disk, Machine, Nic
from portal.machines.room import needs_room_in_pool
from portal.machines.services import clean_name
from portal.networks.models import Network
from portal.refusal import Refused
from workers.contract.messages import Observed
from workers.contract.spec import GIB, MIB, BootFrom, DiskBus, DiskKind, NicModel, Power

MOST_DISKS = 16
MOST_SATA_DISKS = 4
MOST_CARDS = 8


def machine_change_size(
    *, machine: Machine, name: str, cpus: int, memory_mib: int, memory_most_mib: int | None, by: User
) -> Operation:
    """Another name, number of processors and memory; `memory_most_mib` is what it can be given while it runs.

    Raises Refused.
    """
    name = clean_name(name)
    most = memory_most_mib if memory_most_mib and memory_most_mib > memory_mib else None
    try:
        with transaction.atomic():
            row = changeable(machine)
            columns: dict[str, Any] = {
                "name": name,
                "cpus": cpus,
                "memory_mib": memory_mib,
                "memory_most_mib": most,
            }
            if all(getattr(row, column) == value for column, value in columns.items()):
                raise Refused(_("That is so already. Nothing was changed."))
            refuse_taken_name(name, owner=row.owner, team=row.team, but=row)
            _needs_size(row, cpus, most or memory_mib, "memory_most_gib" if most else "memory_gib")
            return change(row, Kind.CHANGE, by, **columns)
    except IntegrityError as exc:  # somebody was quicker with the name
        raise Refused(str(TAKEN), "name") from exc


def machine_change_boot(*, machine: Machine, boot_from: BootFrom, slot: int | None, by: User) -> Operation:
    """What is tried first: the disc in the drive, or the disk in this slot. Raises Refused."""
    with transaction.atomic():
        row = changeable(machine)
        if boot_from is BootFrom.DISC:
            return _unless_so(row, by, boot_from=boot_from)
        if slot is None or not row.disks.filter(position=slot, is_leaving=False).exists():
            raise Refused(_("The machine has no such disk any more. Nothing was changed."))
        return _unless_so(row, by, boot_from=boot_from, boot_slot=slot)


def disk_add(
    *, machine: Machine, size_bytes: int, kind: DiskKind, bus: DiskBus, pool: str = "", by: User
) -> Operation:
    """One more disk, empty, in a pool of its host or beside the machine. Raises Refused."""
    with transaction.atomic():
        row = _disks_changeable(machine)
        disks = list(row.disks.all())
        slot = _free(MOST_DISKS, [disk.position for disk in disks])
        if slot is None:
            raise Refused(_("A machine has at most %(most)d disks.") % {"most": MOST_DISKS})
        if bus is DiskBus.SATA and sum(disk.bus == DiskBus.SATA for disk in disks) >= MOST_SATA_DISKS:
            words = _("A machine has at most %(most)d SATA disks. Choose virtio for this one.")
            raise Refused(words % {"most": MOST_SATA_DISKS}, "disk_bus")
        _needs_disk_room(row, size_bytes // MIB if kind is DiskKind.FIXED else 0, pool, "disk_gib")
        Disk.objects.create(machine=row, position=slot, size_bytes=size_bytes, kind=kind, bus=bus, pool=pool)
        return change(row, Kind.CHANGE, by)


def disk_grow(*, machine: Machine, disk_id: UUID, size_bytes: int, by: User) -> Operation:
    """Make a disk larger; the room in it is the system's to use. Raises Refused."""
    with transaction.atomic():
        row = _disks_changeable(machine)
        disk = _disk(row, disk_id)
        if size_bytes <= disk.size_bytes:
            words = _(
                "The disk has %(now).4g GB, and a disk never shrinks: choose more. Nothing was changed."
            )
            raise Refused(words % {"now": disk.size_bytes / GIB}, "grow_gib")
        if disk.kind == DiskKind.FIXED:
            _needs_disk_room(row, (size_bytes - disk.size_bytes) // MIB, disk.pool, "grow_gib")
        Disk.objects.filter(pk=disk.pk).update(size_bytes=size_bytes)
        return change(row, Kind.CHANGE, by)


def disk_remove(*, machine: Machine, disk_id: UUID, is_sure: bool, by: User) -> Operation:
    """Take a disk out and delete all that is on it. `is_sure`: the person has said so. Raises Refused."""
    with transaction.atomic():
        row = _disks_changeable(machine)
        disk = _disk(row, disk_id)
        if not is_sure:
            raise Refused(_("Say that all on the disk may be deleted. Nothing was changed."))
        _refuse_while_paused(row)
        Disk.objects.filter(pk=disk.pk).update(is_leaving=True)
        left = row.disks.filter(is_leaving=False).order_by("position").first()
        if disk.position != row.boot_slot or left is None:
            return change(row, Kind.CHANGE, by)
        return change(row, Kind.CHANGE, by, boot_slot=left.position)


def card_add(*, machine: Machine, network: Network, model: NicModel, by: User) -> Operation:
    """One more network card, with an address of its own. Raises Refused."""
    try:
        with transaction.atomic():
            row = changeable(machine)
            slot = _free(MOST_CARDS, row.nics.values_list("position", flat=True))
            if slot is None:
                raise Refused(_("A machine has at most %(most)d network cards.") % {"most": MOST_CARDS})
            plug_in(Nic(network=network, position=slot, model=model), row)
            return change(row, Kind.CHANGE, by)
    except IntegrityError as exc:  # somebody was quicker with the address
        raise Refused(
            _("Something changed at the same moment. Nothing was changed: please try again.")
        ) from exc


def card_remove(*, machine: Machine, nic_id: UUID, by: User) -> Operation:
    """Take a network card out; its address is given up when its host has done it. Raises Refused."""
    with transaction.atomic():
        row = changeable(machine)
        _refuse_while_paused(row)
        nic = row.nics.select_related("network").filter(pk=nic_id, is_leaving=False).first()
        if nic is None:
            raise Refused(_("The machine has no such network card any more."))
        Nic.objects.filter(pk=nic.pk).update(is_leaving=True)
        tell_of_lost_lock(row, nic, by)
        return change(row, Kind.CHANGE, by)


def _disks_changeable(machine: Machine) -> Machine:
    row = changeable(machine)
    refuse_while_copied(row)
    if row.snapshots.exists():
        raise Refused(
            _(
                "The machine has snapshots, which know its disks as they are. Delete them first. Nothing was changed."
            )
        )
    return row


def _refuse_while_paused(row: Machine) -> None:
    """A system that stands still cannot let go of anything."""
    if row.observed == Observed.PAUSED:
        raise Refused(_("The machine is paused: let it go on first. Nothing was changed."))


def _unless_so(row: Machine, by: User, **columns: Any) -> Operation:
    if all(getattr(row, column) == value for column, value in columns.items()):
        raise Refused(_("That is so already. Nothing was changed."))
    return change(row, Kind.CHANGE, by, **columns)


def _disk(row: Machine, disk_id: UUID) -> Disk:
    disk = row.disks.filter(pk=disk_id, is_leaving=False).first()
    if disk is None:
        raise Refused(_("The machine has no such disk any more."))
    return disk


def _free(count: int, taken: Iterable[int]) -> int | None:
    """The lowest slot that nothing is in, what is leaving included."""
    used = set(taken)
    return next((slot for slot in range(count) if slot not in used), None)


def _needs_size(row: Machine, cpus: int, most_mib: int, field: str) -> None:
    """Raises Refused where the host has not that much. Locks its row, so that no room is promised twice."""
    host = Host.objects.select_for_update(no_key=True).get(pk=row.host_id)
    facts = host.host_facts
    if facts is not None and cpus > facts.cpu.threads:
        words = _("Its host %(host)s has only %(most)d processors.")
        raise Refused(words % {"host": host.name, "most": facts.cpu.threads}, "cpus")
    had_mib = row.memory_most_mib or row.memory_mib
    if most_mib <= had_mib or facts is None:
        return
    most = host.memory_total_mib
    room = next((each for each in candidates() if each.host_id == host.pk), None)
    if row.power == Power.RUNNING and room is not None:
        most = had_mib + room.memory_free_mib
    if most_mib > most:
        words = _("Its host %(host)s has not that much memory: the most is %(most).1f GB now.")
        raise Refused(words % {"host": host.name, "most": most / 1024}, field)


def _needs_disk_room(row: Machine, more_mib: int, pool: str, field: str) -> None:
    if pool:
        needs_room_in_pool(row.host, pool, more_mib)
    elif more_mib > row.host.disk_free_mib:
        words = _("The host has only %(free)d GB of disk space free. Nothing was changed.")
        raise Refused(words % {"free": row.host.disk_free_mib // 1024}, field)
