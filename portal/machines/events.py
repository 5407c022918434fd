"""What happens to a machine without anybody asking: a line of the activity, and a notice for its owner."""

from __future__ import annotations

from portal.accounts.models import User
from portal.activity.errors import words_for
from portal.activity.models import Kind, Operation
from portal.audit.actions import Action, Result
from portal.audit.services import of_machine, operation_ended, record
from portal.backups.models import Backup
from portal.machines.models import Machine
from portal.machines.people import people_of
from portal.notices.services import tell
from workers.contract.messages import EndReason, MachineObserved, Observed, OperationState, PauseReason

_ENDS: dict[EndReason, str] = {
    EndReason.GUEST: "machine_ended",
    EndReason.CRASH: "machine_crashed",
    EndReason.UNSEEN: "machine_crashed",
}
_HALTS: dict[PauseReason, str] = {
    PauseReason.IO_ERROR: "disk_failed",
    PauseReason.NO_SPACE: "host_disk_full",
    PauseReason.PANIC: "machine_panicked",
}


def observed_otherwise(before: Machine, report: MachineObserved) -> None:
    """What the host sees now, against what was known before; called before the row is written."""
    lived = before.observed in (Observed.RUNNING, Observed.PAUSED)
    if report.power is Observed.OFF and lived and report.reason in _ENDS:
        _happened(before, Action.MACHINE_ENDED, _ENDS[report.reason], why=report.reason.value)
    elif (
        report.power is Observed.PAUSED
        and report.paused_for in _HALTS
        and before.paused_for != report.paused_for
    ):
        _happened(before, Action.MACHINE_HALTED, _HALTS[report.paused_for], why=report.paused_for.value)


def operation_over(operation: Operation) -> None:
    """An operation came to its end, which stands in its row."""
    operation_ended(operation)
    if operation.state != OperationState.FAILED:
        return
    machine, name = operation.machine, operation.machine_name
    kind = "backup_failed" if operation.kind == Kind.BACKUP else "operation_failed"
    people: list[User] = [operation.requested_by] if operation.requested_by else []
    if operation.kind == Kind.VERIFY_BACKUP:  # a job of the host's: whose it is stands in the backup's row
        backup = Backup.objects.filter(pk__in=[operation.about]).select_related("machine", "owner").first()
        if backup is not None:
            machine, name = backup.machine, backup.machine_name
            people = [*people, backup.owner]
    if machine is not None and (kind == "backup_failed" or not people):
        people = [*people, machine.owner]
    if machine is not None and machine.team_id is not None:
        people = [*people, *people_of(machine)]
    host = operation.host.name if operation.host else ""
    tell(
        people,
        kind,
        link=f"/machines/{machine.pk}/" if machine else "",
        what=operation.get_kind_display(),
        machine=name or host,
        why=words_for(operation.error_code).sentence,
    )


def _happened(machine: Machine, action: Action, kind: str, *, why: str) -> None:
    host = machine.host.name
    record(
        action,
        about=of_machine(machine),
        result=Result.FAILED if why != EndReason.GUEST else Result.DONE,
        details={"why": why, "host": host},
    )
    tell(people_of(machine), kind, link=f"/machines/{machine.pk}/", machine=machine.name, host=host)
