"""Snapshots of machines: taking, going back, deleting, renaming, and what the ends of these mean for the rows."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import structlog
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _
from pydantic import ValidationError

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.audit import services as audit
from portal.audit.actions import Action
from portal.images.models import Image
from portal.machines import firewall
from portal.machines.asking import change, record, wanted
from portal.machines.cards_of_then import become_nics, nics_then
from portal.machines.models import Disk, Machine, Snapshot
from portal.machines.specs import disc_spec, spec_of
from portal.refusal import Refused
from workers.contract.acts import DeleteSnapshot, RevertToSnapshot, TakeSnapshot
from workers.contract.disks import DiscSpec, DiskSpec
from workers.contract.messages import Observed, OperationState, Progress, Step, StepState
from workers.contract.spec import Autostart, BootFrom, DiskKind, MachineSpec, Power, StopMode

MOST_SNAPSHOTS = 50
"""A machine's; each slows its disks a little, and the tree has to be read by people."""

log = structlog.get_logger()


def has_snapshots(machine: Machine) -> bool:
    """Its disks can neither be moved, converted nor frozen then: that would lose what the snapshots hold."""
    return machine.snapshots.exists()


def tree_of(machine: Machine) -> list[tuple[Snapshot, int]]:
    """The snapshots with how deep they stand, each below what it was taken after, oldest first. One query."""
    rows = list(machine.snapshots.select_related("parent"))
    below: dict[Any, list[Snapshot]] = {}
    known = {row.pk for row in rows}
    for row in rows:
        below.setdefault(row.parent_id if row.parent_id in known else None, []).append(row)
    tree: list[tuple[Snapshot, int]] = []
    waiting = [(row, 0) for row in reversed(below.get(None, []))]
    while waiting:
        row, depth = waiting.pop()
        tree.append((row, depth))
        waiting.extend((child, depth + 1) for child in reversed(below.get(row.pk, [])))
    return tree


def snapshot_take(*, machine: Machine, name: str, description: str, memory: bool, by: User) -> Operation:
    """Keep the machine as it is now. Raises Refused."""
    with transaction.atomic():
        return _take(wanted(machine), name=name, description=description, memory=memory, by=by)


def snapshot_revert(
    *, machine: Machine, snapshot: Snapshot, by: User, first: str = "", first_memory: bool = False
) -> Operation:
    """Make the machine what it was then; with `first`, a snapshot of that name is taken of it before. Raises Refused."""
    with transaction.atomic():
        row = wanted(machine)
        snapshot = _ready(row, snapshot)
        _not_hibernated(row)
        _whole(row)
        then = _spec_then(snapshot)
        _disks_fit(row, then)
        nics = nics_then(row, then)
        before = _take(row, name=first, description="", memory=first_memory, by=by) if first else None
        runs = row.observed in (Observed.RUNNING, Observed.PAUSED) or row.power == Power.RUNNING
        row.power = Power.RUNNING if snapshot.has_memory or runs else Power.OFF
        row.stop_mode = StopMode.FORCE
        row.run += 1 if row.power == Power.RUNNING else 0
        row.generation += 1
        row.save(update_fields=["power", "stop_mode", "run", "generation"])
        disc, second = _still_there(then.disc), _still_there(then.second_disc)
        spec = then.model_copy(
            update={
                "generation": row.generation,
                "run": row.run,
                "power": Power(row.power),
                "stop_mode": StopMode.FORCE,
                "name": row.name,
                "autostart": Autostart(row.autostart),
                "cpu_weight": row.cpu_weight,
                "disks": _limited_as_now(row, then),
                "nics": nics,
                "firewall": firewall.in_force(row.firewall),
                "disc": disc_spec(disc),
                "second_disc": disc_spec(second),
                "boot_from": then.boot_from if disc else BootFrom.DISK,
            }
        )
        act = RevertToSnapshot(snapshot_id=snapshot.pk, memory=snapshot.has_memory)
        return record(row, Kind.REVERT, by, act=act, about=snapshot.pk, after=before, spec=spec)


def snapshot_delete(*, machine: Machine, snapshot: Snapshot, by: User) -> Operation:
    """Forget a snapshot; what was taken after it stays. Raises Refused."""
    with transaction.atomic():
        row = wanted(machine)
        snapshot = _ready(row, snapshot)
        act = DeleteSnapshot(snapshot_id=snapshot.pk)
        return change(row, Kind.DELETE_SNAPSHOT, by, act=act, about=snapshot.pk)


def snapshot_rename(*, machine: Machine, snapshot: Snapshot, name: str, description: str, by: User) -> None:
    """Call it something else. Raises Refused."""
    with transaction.atomic():
        row = wanted(machine, whatever_goes_on=True)
        clean = _clean_name(name)
        if row.snapshots.filter(name=clean).exclude(pk=snapshot.pk).exists():
            raise Refused(_("This machine has a snapshot of that name already. Choose another name."), "name")
        row.snapshots.filter(pk=snapshot.pk).update(name=clean, description=_clean_text(description))
        told = {"was": snapshot.name, "is": clean}
        audit.record(Action.SNAPSHOT_RENAMED, by=by, about=audit.of_machine(row), details=told)


def settle_taking(operation: Operation, progress: Progress) -> None:
    """A snapshot was taken, and the machine goes on from it; or it was not, and there is none."""
    snapshot = _about(operation)
    if snapshot is None:
        return
    if progress.state is not OperationState.DONE:
        snapshot.delete()
        return
    kept = getattr(progress.facts, "memory_bytes", 0)
    snapshot.is_ready, snapshot.memory_bytes, snapshot.has_memory = True, kept, kept > 0
    snapshot.save(update_fields=["is_ready", "memory_bytes", "has_memory"])
    Machine.objects.filter(pk=snapshot.machine_id).update(current_snapshot=snapshot)


def settle_reverting(operation: Operation, progress: Progress) -> None:
    """The disks are of then, so the machine's rows are too; also where starting it afterwards failed."""
    is_back = progress.state is OperationState.DONE or any(
        step.step is Step.REVERT_TO_SNAPSHOT and step.state is StepState.DONE for step in progress.steps
    )
    snapshot = _about(operation)
    if is_back and snapshot is not None:
        try:
            become(snapshot.machine, _spec_then(snapshot))
        except Refused as refusal:  # no address is free any more, say: the end has to be noted all the same
            log.warning("rows not of then", snapshot=str(snapshot.pk), error=str(refusal.message))
        Machine.objects.filter(pk=snapshot.machine_id).update(current_snapshot=snapshot)


def settle_deleting(operation: Operation, progress: Progress) -> None:
    """What was taken after it stands where it stood."""
    if progress.state is not OperationState.DONE:
        return
    snapshot = _about(operation)
    if snapshot is None:
        return
    snapshot.children.update(parent=snapshot.parent)
    Machine.objects.filter(current_snapshot=snapshot).update(current_snapshot=snapshot.parent)
    snapshot.delete()


def become(machine: Machine, then: MachineSpec) -> None:
    """The machine's rows say what its spec was then, but for its name, its power and what it does after a reboot."""
    disc, second = _still_there(then.disc), _still_there(then.second_disc)
    Machine.objects.filter(pk=machine.pk).update(
        cpus=then.cpus,
        memory_mib=then.memory_mib,
        memory_most_mib=then.memory_most_mib,
        guest=then.guest,
        firmware=then.firmware,
        tpm=then.tpm,
        disc=disc,
        second_disc=second,
        boot_from=then.boot_from if disc else BootFrom.DISK,
        boot_slot=then.boot_slot,
    )
    for disk in then.disks:
        Disk.objects.filter(machine=machine, pk=disk.id).update(size_bytes=disk.size_bytes, bus=disk.bus)
    become_nics(machine, then)


def _take(row: Machine, *, name: str, description: str, memory: bool, by: User) -> Operation:
    clean = _clean_name(name)
    _not_hibernated(row)
    _whole(row)
    fixed = [disk for disk in row.disks.all() if disk.kind == DiskKind.FIXED]
    if fixed:
        raise Refused(
            _("A fixed disk has no snapshots. Convert it to a growing one first; nothing was changed.")
        )
    if row.snapshots.count() >= MOST_SNAPSHOTS:
        words = _("A machine has at most %(most)d snapshots. Delete one that is no longer needed first.")
        raise Refused(words % {"most": MOST_SNAPSHOTS})
    if row.snapshots.filter(name=clean).exists():
        raise Refused(_("This machine has a snapshot of that name already. Choose another name."), "name")
    runs = row.observed in (Observed.RUNNING, Observed.PAUSED)
    try:
        with transaction.atomic():
            snapshot = Snapshot.objects.create(
                machine=row,
                parent=row.current_snapshot,
                name=clean,
                description=_clean_text(description),
                has_memory=memory and runs,
                spec=spec_of(row).to_wire()["body"],
            )
    except IntegrityError as exc:
        raise Refused(_("Something changed at the same moment. Nothing was made: please try again.")) from exc
    act = TakeSnapshot(snapshot_id=snapshot.pk, memory=memory and runs)
    return change(row, Kind.TAKE_SNAPSHOT, by, act=act, about=snapshot.pk)


def _about(operation: Operation) -> Snapshot | None:
    if operation.about is None:
        return None
    return Snapshot.objects.filter(pk=operation.about).select_related("machine__host").first()


def _ready(row: Machine, snapshot: Snapshot) -> Snapshot:
    found = row.snapshots.filter(pk=snapshot.pk, is_ready=True).first()
    if found is None:
        raise Refused(_("That snapshot is not there, or not ready yet. Nothing was changed."))
    return found


def _not_hibernated(row: Machine) -> None:
    if row.observed == Observed.SAVED or row.power == Power.SAVED:
        raise Refused(
            _("The machine is hibernated, and its disks may not be touched. Wake it or start it anew first.")
        )


def _whole(row: Machine) -> None:
    """A disk on its way out would be missing from what is gone back to."""
    if row.disks.filter(is_leaving=True).exists() or row.nics.filter(is_leaving=True).exists():
        raise Refused(_("A disk or card of the machine is being removed. Try again when that is done."))


def _spec_then(snapshot: Snapshot) -> MachineSpec:
    """Raises Refused where this version cannot read it."""
    try:
        return MachineSpec.model_validate_json(json.dumps(snapshot.spec))
    except ValidationError as exc:
        log.warning("snapshot not readable", snapshot=str(snapshot.pk), error=str(exc))
        raise Refused(
            _(
                "This version cannot read what the machine was then. Nothing was changed; the snapshot is kept."
            )
        ) from exc


def _disks_fit(row: Machine, then: MachineSpec) -> None:
    """Going back never takes a disk away, and cannot bring one back."""
    now: dict[Any, Disk] = {disk.pk: disk for disk in row.disks.all()}
    before: dict[Any, DiskSpec] = {disk.id: disk for disk in then.disks}
    added = sorted(disk.position + 1 for key, disk in now.items() if key not in before)
    if added:
        words = _(
            "Disk %(disks)s was added after this snapshot, and going back would lose it. Remove it from the machine "
            "first, or copy what you need from it. Nothing was changed."
        )
        raise Refused(words % {"disks": ", ".join(map(str, added))})
    if any(key not in now for key in before):
        raise Refused(
            _("A disk of this snapshot has been removed from the machine since, so it cannot go back.")
        )
    if any((now[key].kind, now[key].pool) != (disk.kind, disk.pool or "") for key, disk in before.items()):
        raise Refused(
            _("A disk was moved or converted after this snapshot, so the machine cannot go back to it.")
        )


def _limited_as_now(row: Machine, then: MachineSpec) -> tuple[DiskSpec, ...]:
    """Limits are what its host grants the machine, and nothing of its past."""
    now = {disk.pk: {"iops": disk.iops, "mib_per_second": disk.mib_per_second} for disk in row.disks.all()}
    return tuple(disk.model_copy(update=now.get(disk.id, {})) for disk in then.disks)


def _still_there(disc: DiscSpec | None) -> Image | None:
    """The disc of then, where the library still has it."""
    return Image.objects.filter(pk=disc.image_id).first() if disc else None


def _clean_name(raw: str) -> str:
    name = " ".join(unicodedata.normalize("NFC", raw).split())
    if not any(unicodedata.category(character)[0] in "LNSP" for character in name):
        raise Refused(_("The snapshot needs a name."), "name")
    if len(name) > 63:
        raise Refused(_("A name has at most 63 characters."), "name")
    if any(unicodedata.category(character).startswith("C") for character in name):
        raise Refused(_("A name has visible characters only."), "name")
    return name


def _clean_text(raw: str) -> str:
    return raw.replace("\x00", "").replace("\r\n", "\n").strip()[:2000]
