"""Reading backups, always scoped to what a person may see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404

from portal.accounts.models import User
from portal.activity.errors import ErrorWords, words_for
from portal.activity.models import OPEN_STATES, Kind, Operation
from portal.backups.models import Backup, BackupState
from portal.machines.models import Machine
from portal.machines.selectors import machine_level
from portal.rights.levels import Level
from portal.rights.scope import level_of, seen_by
from portal.rights.table import RIGHTS


@dataclass(frozen=True)
class ShownBackup:
    """A backup as a page shows it; `problem` is what went wrong the last time that something was done with it."""

    backup: Backup
    is_being_verified: bool
    problem: ErrorWords | None
    level: Level
    """What the person who looks may do with it."""

    @property
    def may_be_managed(self) -> bool:
        """Restored, verified, deleted."""
        return self.level >= RIGHTS["backups:restore"].looking

    @property
    def may_be_used(self) -> bool:
        """Nothing is done with it just now."""
        return self.backup.state in (BackupState.READY, BackupState.DAMAGED) and not self.is_being_verified


def backups_for(user: User) -> QuerySet[Backup]:
    """The backups of what is a person's or their teams'; all for who sees everything."""
    return seen_by(user, Backup.objects.select_related("host", "owner", "team"))


def backup_for(user: User, backup_id: UUID) -> Backup:
    """The backup. Raises Http404 where the person may not see it."""
    backup = Backup.objects.select_related("host", "owner", "team").filter(pk=backup_id).first()
    if backup is None or backup_level(user, backup_id) is None:
        raise Http404
    return backup


def backup_level(user: User, backup_id: UUID) -> Level | None:
    """What the person may do with it: what they may with its machine, and without one what its home says. Two queries."""
    machine_id = Backup.objects.filter(pk=backup_id).values_list("machine", flat=True).first()
    if machine_id is not None:
        return machine_level(user, machine_id)
    backup = seen_by(user, Backup.objects.filter(pk=backup_id)).only("pk").first()
    return None if backup is None else level_of(backup)


def backups_of(machine: Machine) -> list[ShownBackup]:
    """A machine's, the newest first. Two queries."""
    rows = machine.backups.select_related("host", "owner", "team").defer("spec")
    return shown(rows, level_of(machine))


def of_deleted_machines(user: User) -> QuerySet[Backup]:
    """Those whose machine is gone."""
    gone = backups_for(user).filter(machine=None).exclude(state=BackupState.TAKING)
    return gone.defer("spec").order_by("machine_name", "source_id", "-asked_at")


def shown(backups: Iterable[Backup], level: Level | None = None) -> list[ShownBackup]:
    """With what is done with each just now, and the person's `level` of their machine or of each. Two queries."""
    rows = list(backups)
    verifying = set(
        Operation.objects.filter(
            kind=Kind.VERIFY_BACKUP, state__in=OPEN_STATES, about__in=[row.pk for row in rows]
        ).values_list("about", flat=True)
    )
    return [
        ShownBackup(
            row,
            row.pk in verifying,
            words_for(row.problem_code) if row.problem_code else None,
            level_of(row) if level is None else level,
        )
        for row in rows
    ]
