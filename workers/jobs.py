"""What a host does that belongs to no machine: each job is one step, reported as an operation is, harmless when done twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import structlog

from workers.contract.errors import OffshootError
from workers.contract.jobs import Facts
from workers.contract.messages import (
    DoJob,
    ErrorReport,
    OperationState,
    Progress,
    Step,
    StepReport,
    StepState,
)
from workers.effects.backup_jobs import delete_backup, verify_backup
from workers.effects.importing import check_image
from workers.host import uplinks
from workers.host.bases import forget_base
from workers.this_host import Host

Tell = Callable[[int], None]
JobEffect = Callable[[Host, Any, Tell], Facts | None]
"""Takes the host, the job and a way to tell per cent; raises OffshootError."""

JOBS: dict[str, tuple[Step, JobEffect]] = {
    "check_image": (Step.CHECK_IMAGE, check_image),
    "delete_backup": (Step.DELETE_BACKUP, delete_backup),
    "verify_backup": (Step.VERIFY_BACKUP, verify_backup),
    "forget_base": (Step.FORGET_BASE, lambda host, job, _tell: forget_base(host.config, job.base_id)),
    "make_bridge": (
        Step.MAKE_BRIDGE,
        lambda host, job, _tell: uplinks.make_bridge(host.config, job.interface),
    ),
    "remove_bridge": (
        Step.REMOVE_BRIDGE,
        lambda host, job, _tell: uplinks.remove_bridge(host.config, job.bridge),
    ),
}
"""By the job's kind: its step and its effect."""

log = structlog.get_logger()
_under_way: set[UUID] = set()
_lock = threading.Lock()


def do(host: Host, message: DoJob) -> None:
    """Do a job and report how it went; one that came twice while it is done is not begun again."""
    with _lock:
        if message.operation_id in _under_way:
            return
        _under_way.add(message.operation_id)
    try:
        host.report_progress(_carry_out(host, message))
    finally:
        with _lock:
            _under_way.discard(message.operation_id)


def _carry_out(host: Host, message: DoJob) -> Progress:
    step, effect = JOBS[message.job.kind]
    words = log.bind(operation=str(message.operation_id), job=message.job.kind)

    def progress(state: OperationState, step_state: StepState, percent: int = 0, **more: Any) -> Progress:
        return Progress(
            operation_id=message.operation_id,
            machine_id=None,
            generation=0,
            sequence=host.next_sequence(),
            state=state,
            steps=(StepReport(step=step, state=step_state, percent=percent),),
            **more,
        )

    def tell(percent: int) -> None:
        host.report_progress(progress(OperationState.RUNNING, StepState.RUNNING, min(percent, 99)))

    tell(0)
    try:
        facts = effect(host, message.job, tell)
    except Exception as exc:  # the page must hear of every end, whatever it was
        if not isinstance(exc, OffshootError):
            words.exception("unexpected")
        error = exc if isinstance(exc, OffshootError) else OffshootError(f"{type(exc).__name__}: {exc}")
        words.warning("failed", code=error.code.value, detail=error.detail)
        report = ErrorReport(code=error.code, detail=error.detail[-4000:])
        return progress(OperationState.FAILED, StepState.FAILED, error=report)
    words.info("done")
    return progress(OperationState.DONE, StepState.DONE, 100, facts=facts)
