"""What a host's worker is asked: parse, call an operation. No rules here."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from workers import jobs
from workers.celery import app, running_service
from workers.contract.errors import MessageError
from workers.contract.messages import (
    TASK_APPLY,
    TASK_FORGET_IMAGE,
    TASK_JOB,
    ApplyMachine,
    DoJob,
    ErrorReport,
    ForgetImage,
    OperationState,
    Progress,
)
from workers.contract.screens import TASK_LOOK_AT_SCREENS, LookAtScreens
from workers.contract.version import from_wire
from workers.host import imagebases
from workers.operations import apply


@app.task(name=TASK_APPLY)
def apply_machine(wire: Any) -> None:
    """Make the host match a machine's spec."""
    service = running_service()
    try:
        message = from_wire(ApplyMachine, wire)
    except MessageError as exc:
        refusal = _refusal(wire, exc)
        if refusal is not None:
            service.host.report_progress(refusal)
        return
    apply(service.host, message)


@app.task(name=TASK_JOB)
def do_job(wire: Any) -> None:
    """Do what belongs to no machine."""
    service = running_service()
    try:
        message = from_wire(DoJob, wire)
    except MessageError as exc:
        refusal = _refusal(wire, exc)
        if refusal is not None:
            service.host.report_progress(refusal)
        return
    jobs.do(service.host, message)


@app.task(name=TASK_FORGET_IMAGE)
def forget_image(wire: Any) -> None:
    """Drop the copy of an image that the library no longer has."""
    service = running_service()
    imagebases.forget_image(service.config, from_wire(ForgetImage, wire).image_id)


@app.task(name=TASK_LOOK_AT_SCREENS)
def look_at_screens(wire: Any) -> None:
    """Somebody looks at these machines."""
    running_service().screens.look(from_wire(LookAtScreens, wire))


def _refusal(wire: Any, error: MessageError) -> Progress | None:
    """A message that this version does not read is refused aloud, as far as its operation can be told."""
    try:
        body = wire["body"]
        spec = body.get("spec")
        return Progress(
            operation_id=UUID(body["operation_id"]),
            machine_id=UUID(spec["machine_id"]) if spec else None,
            generation=int(spec["generation"]) if spec else 0,
            sequence=time.time_ns(),
            state=OperationState.FAILED,
            error=ErrorReport(code=error.code, detail=error.detail[-4000:]),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
