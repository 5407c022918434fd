"""What people and plans do with backups. Each call is one transaction: the change, its Operation, the message."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import time, timedelta
from typing import Any
from uuid import uuid4

import structlog
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import OPEN_STATES, Kind, Operation
from portal.audit.actions import Action
from portal.audit.services import of_machine, record
from portal.backups.models import Backup, BackupPlan, BackupState
from portal.backups.timing import next_time
from portal.fleet.models import Host
from portal.live import publish
from portal.machines import firewall
from portal.machines.asking import change, is_starting, record_job, wanted
from portal.machines.cloning import make_like, same_moment
from portal.machines.homes import home_of_copy
from portal.machines.models import Disk, Machine, Nic
from portal.machines.specs import spec_of
from portal.networks.models import Network
from portal.networks.services import private_network
from portal.refusal import Refused
from workers.contract.acts import TakeBackup
from workers.contract.disks import BackupOrigin
from workers.contract.errors import ErrorCode
from workers.contract.jobs import BackupFacts, DeleteBackup, VerifyBackup
from workers.contract.messages import OperationState, Progress
from workers.contract.networks import NetworkKind
from workers.contract.spec import MachineSpec

_FORGOTTEN = timedelta(minutes=2)
log = structlog.get_logger()


@dataclass(frozen=True)
class PlanWish:
    """What a person chose for a machine's plan; `at` in UTC."""

    is_on: bool
    every: str
    weekday: int
    at: time
    place: str
    keep: int


def backup_take(
    *, machine: Machine, place: str, by: User | None, whole: bool = False, planned: bool = False
) -> Operation:
    """Back a machine up now; only what has changed where there is an earlier one, unless `whole`. Raises Refused."""
    with transaction.atomic():
        row = wanted(machine)
        if is_starting(row) or not row.observed:
            raise Refused(_("The machine is just being made or started. Try again when that is done."))
        require_place(row.host, place)
        if not row.disks.exists():
            raise Refused(_("The machine has no disk, so there is nothing to back up."))
        backup = Backup(
            id=uuid4(),
            machine=row,
            source_id=row.pk,
            machine_name=row.name,
            owner_id=row.owner_id,
            team_id=row.team_id,
            host=row.host,
            place=place,
            is_planned=planned,
            spec=spec_of(row).model_dump(mode="json"),
        )
        previous = None if whole else _newest_sound(row, place)
        backup.save(force_insert=True)
        act = TakeBackup(place=place, backup_id=backup.pk, previous=previous.pk if previous else None)
        return change(row, Kind.BACKUP, by, act=act, about=backup.pk)


def backup_verify(*, backup: Backup, by: User | None) -> Operation:
    """Have a backup read through and compared. Raises Refused."""
    with transaction.atomic():
        row = _resting(backup)
        job = VerifyBackup(place=row.place, machine_id=row.source_id, backup_id=row.pk)
        _tell_page(row)
        return record_job(row.host, Kind.VERIFY_BACKUP, by, job=job, about=row.pk)


def backup_delete(*, backup: Backup, by: User | None) -> Operation:
    """Delete a backup; later ones that stand on it stay whole. Raises Refused."""
    with transaction.atomic():
        row = _resting(backup)
        row.state, row.problem_code, row.problem_detail = BackupState.DELETING, "", ""
        row.save(update_fields=["state", "problem_code", "problem_detail"])
        job = DeleteBackup(place=row.place, machine_id=row.source_id, backup_id=row.pk)
        _tell_page(row)
        return record_job(row.host, Kind.DELETE_BACKUP, by, job=job, about=row.pk)


def backup_restore(*, backup: Backup, name: str, by: User) -> Operation:
    """A new machine, off, with the disks and the hardware that the backup has. Raises Refused."""
    with same_moment(), transaction.atomic():
        row = _resting(backup)
        spec = MachineSpec.model_validate_json(json.dumps(row.spec))
        owner, team = home_of_copy(by, owner=row.owner, team=row.team)
        machine = Machine(
            owner=owner,
            team=team,
            host=row.host,
            cpus=spec.cpus,
            cpu_weight=spec.cpu_weight,
            memory_mib=spec.memory_mib,
            memory_most_mib=spec.memory_most_mib,
            guest=spec.guest,
            firmware=spec.firmware,
            tpm=spec.tpm,
            autostart=spec.autostart,
            boot_slot=spec.boot_slot,
            firewall=firewall.stored(spec.firewall),
        )
        pools = {pool["name"] for pool in row.host.pools if not pool["problem"]}
        disks = [
            Disk(
                position=disk.slot,
                size_bytes=disk.size_bytes,
                kind=disk.kind,
                bus=disk.bus,
                iops=disk.iops,
                mib_per_second=disk.mib_per_second,
                pool=disk.pool if disk.pool and disk.pool in pools else "",
                origin=BackupOrigin(
                    place=row.place, machine_id=row.source_id, backup_id=row.pk, disk_id=disk.id
                ).model_dump(mode="json"),
            )
            for disk in spec.disks
        ]
        here = Q(kind=NetworkKind.BRIDGED, uplinks__host=row.host) | ~Q(kind=NetworkKind.BRIDGED)
        networks = {network.pk: network for network in Network.objects.filter(here)}
        nics = [
            Nic(
                network=networks.get(nic.network.id) or private_network(),
                position=nic.slot,
                model=nic.model,
                mbit_in=nic.mbit_in,
                mbit_out=nic.mbit_out,
            )
            for nic in spec.nics
        ]
        return make_like(machine, name, disks, nics, by, start=False)


def plan_set(*, machine: Machine, wish: PlanWish, by: User) -> BackupPlan:
    """When the machine is backed up by itself. Raises Refused."""
    with transaction.atomic():
        row = wanted(machine, whatever_goes_on=True)
        if wish.is_on:
            require_place(row.host, wish.place)
        due = next_time(wish.every, wish.weekday, wish.at, timezone.now()) if wish.is_on else None
        plan, _made = BackupPlan.objects.update_or_create(
            machine=row,
            defaults={
                "is_on": wish.is_on,
                "every": wish.every,
                "weekday": wish.weekday,
                "at": wish.at,
                "place": wish.place,
                "keep": wish.keep,
                "next_at": due,
                "problem": "",
            },
        )
        transaction.on_commit(lambda: publish.machine_changed(row.pk))
        told = {"is_on": wish.is_on, "every": wish.every, "place": wish.place, "keep": wish.keep}
        record(Action.BACKUP_PLAN, by=by, about=of_machine(row), details=told)
    log.info("backup plan", machine=str(row.pk), by=by.pk, on=wish.is_on)
    return plan


def plans_run_due() -> int:
    """Begin what plans are due for; how many. What a silent host or a busy machine holds up is done once, later."""
    begun = 0
    due = BackupPlan.objects.filter(is_on=True, next_at__lte=timezone.now())
    for plan in due.select_related("machine__host"):
        begun += _run(plan)
    return begun


def clear_forgotten() -> int:
    """Remove rows of backups whose operation is over without a word: their machine was deleted meanwhile, say."""
    limit = timezone.now() - _FORGOTTEN
    asked = Operation.objects.filter(kind=Kind.BACKUP, state__in=OPEN_STATES).values("about")
    found = Backup.objects.filter(state=BackupState.TAKING, asked_at__lt=limit).exclude(pk__in=asked)
    return found.delete()[0]


def settle_backup(operation: Operation, progress: Progress) -> None:
    """A backup was taken, or was not: then nothing of it is left. What a plan took is read through at once."""
    backups = Backup.objects.filter(pk__in=[operation.about], state=BackupState.TAKING)
    if progress.state is not OperationState.DONE or not isinstance(progress.facts, BackupFacts):
        backups.delete()
        return
    backups.update(
        state=BackupState.READY,
        taken_at=timezone.now(),
        stored_bytes=progress.facts.stored_bytes,
        is_incremental=progress.facts.incremental,
    )
    backup = Backup.objects.filter(pk__in=[operation.about], is_planned=True).first()
    if backup is not None:
        _keep(backup)
        backup_verify(backup=backup, by=None)


def settle_verify(operation: Operation, progress: Progress) -> None:
    """A backup was read through."""
    row = Backup.objects.select_for_update().filter(pk__in=[operation.about]).first()
    if row is None or row.state == BackupState.DELETING:
        return
    changes: dict[str, Any] = {"problem_code": "", "problem_detail": ""}
    if progress.state is OperationState.DONE:
        changes |= {"verified_at": timezone.now(), "state": BackupState.READY}
    elif progress.error is not None:
        changes |= _problem(progress)
        if progress.error.code is ErrorCode.BACKUP_DAMAGED:
            changes["state"] = BackupState.DAMAGED
    Backup.objects.filter(pk=row.pk).update(**changes)
    _tell_page(row)
    if row.is_planned:
        _keep(row)  # one that is verified stays until then


def settle_delete(operation: Operation, progress: Progress) -> None:
    """A backup was deleted, or is still there. What stood on it takes more room now."""
    row = Backup.objects.filter(pk__in=[operation.about], state=BackupState.DELETING).first()
    if row is None:
        return
    _tell_page(row)
    if progress.state is OperationState.DONE:
        row.delete()
    else:
        Backup.objects.filter(pk=row.pk).update(state=BackupState.READY, **_problem(progress))


def require_place(host: Host, name: str) -> None:
    """Raises Refused where the host has no such backup folder, or it cannot be used now."""
    found = next((each for each in host.backup_places if each["name"] == name), None)
    if found is None:
        words = _("The host %(host)s has no backup folder “%(name)s”.")
        raise Refused(words % {"host": host.name, "name": name}, "place")
    if found["problem"]:
        words = _("The backup folder “%(name)s” cannot be used now: %(problem)s")
        raise Refused(words % {"name": name, "problem": found["problem"]}, "place")


def _newest_sound(machine: Machine, place: str) -> Backup | None:
    """The one to stand on. None where the newest is damaged: what stands on it would be too."""
    taken = Backup.objects.filter(source_id=machine.pk, place=place, host=machine.host)
    newest = taken.exclude(state=BackupState.TAKING).order_by("-asked_at").first()
    return newest if newest is not None and newest.state == BackupState.READY else None


def _resting(backup: Backup) -> Backup:
    """The row, locked. Raises Refused while something is done with it."""
    row = (
        Backup.objects.select_for_update(of=("self",))
        .select_related("host", "owner", "team")
        .get(pk=backup.pk)
    )
    if row.state == BackupState.TAKING:
        raise Refused(_("The backup is still being taken."))
    if row.state == BackupState.DELETING:
        raise Refused(_("The backup is being deleted."))
    if Operation.objects.filter(about=row.pk, kind=Kind.VERIFY_BACKUP, state__in=OPEN_STATES).exists():
        raise Refused(_("The backup is just being verified. Try again when that is done."))
    return row


def _run(plan: BackupPlan) -> bool:
    with transaction.atomic():
        row = (
            BackupPlan.objects.select_for_update(of=("self",))
            .filter(pk=plan.pk, next_at=plan.next_at)
            .first()
        )
        if row is None or not row.is_on or plan.machine.host.is_silent:
            return False
        now = timezone.now()
        try:
            with transaction.atomic():
                wanted(plan.machine)  # something that goes on is waited for
        except Refused:
            return False
        problem = ""
        try:
            with transaction.atomic():
                backup_take(machine=plan.machine, place=row.place, by=None, planned=True)
        except Refused as refusal:
            problem = refusal.message
            log.warning("planned backup not begun", machine=str(row.pk), problem=problem)
        due = next_time(row.every, row.weekday, row.at, now)
        BackupPlan.objects.filter(pk=row.pk).update(next_at=due, problem=problem)
        return not problem


def _keep(backup: Backup) -> None:
    """Delete the oldest of those that the plan took, so that as many are kept as it says."""
    plan = BackupPlan.objects.filter(machine=backup.machine).first()
    if plan is None:
        return
    taken = Backup.objects.filter(
        source_id=backup.source_id, place=backup.place, is_planned=True, state=BackupState.READY
    ).order_by("-asked_at")
    for old in taken[plan.keep :]:
        try:
            backup_delete(backup=old, by=None)
        except Refused as refusal:  # it is just being verified: again after that
            log.info("old backup stays for now", backup=str(old.pk), why=refusal.message)


def _problem(progress: Progress) -> dict[str, str]:
    error = progress.error
    return {
        "problem_code": error.code if error else ErrorCode.INTERNAL,
        "problem_detail": error.detail.replace("\x00", "") if error else "",
    }


def _tell_page(row: Backup) -> None:
    machine_id = row.machine_id
    if machine_id is not None:
        transaction.on_commit(lambda: publish.machine_changed(machine_id))
