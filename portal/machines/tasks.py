"""What arrives on queue "portal" and what is done from time to time: parse, call a service."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import structlog
from celery import shared_task

from portal.console.services import tickets_clear_expired
from portal.fleet.services import heartbeat_take
from portal.images.downloads import clear_leftovers
from portal.images.services import clear_expired_uploads
from portal.machines import dispatch, reports
from portal.machines.freezing import forget_unused
from workers.contract.errors import MessageError, VersionError
from workers.contract.messages import (
    REPORT_OBSERVED,
    REPORT_PROGRESS,
    TASK_HEARTBEAT,
    TASK_REPORTS,
    Heartbeat,
    MachineObserved,
    Progress,
)
from workers.contract.version import from_wire

log = structlog.get_logger()


@shared_task(name=TASK_REPORTS)
def told(pairs: Any) -> None:
    """What a host had to tell within a moment. One that cannot be taken keeps none of the others from being."""
    for kind, wire in _pairs(pairs):
        try:
            if kind == REPORT_PROGRESS:
                _progress(wire)
            elif kind == REPORT_OBSERVED:
                _observed(wire)
            else:
                log.warning("report refused", error=f"of an unknown kind {str(kind)[:40]!r}")
        except Exception:
            log.exception("report not taken", kind=kind)


def _progress(wire: Any) -> None:
    try:
        reports.progress_take(from_wire(Progress, wire))
    except VersionError as exc:
        _refused(_body(wire), exc)
    except MessageError as exc:
        log.warning("report refused", error=exc.detail)


def _observed(wire: Any) -> None:
    try:
        reports.observed_take(from_wire(MachineObserved, wire))
    except VersionError as exc:
        _refused(_body(wire).get("operation"), exc)
    except MessageError as exc:
        log.warning("report refused", error=exc.detail)


@shared_task(name=TASK_HEARTBEAT)
def heartbeat(wire: Any) -> None:
    """A host is alive, with these machines."""
    try:
        beat = from_wire(Heartbeat, wire)
    except VersionError as exc:
        reports.host_speaks_otherwise(str(_body(wire).get("host", "")), str(wire.get("version")))
        log.warning("heartbeat refused", error=exc.detail)
        return
    except MessageError as exc:
        log.warning("heartbeat refused", error=exc.detail)
        return
    if heartbeat_take(beat):
        reports.heartbeat_machines_take(beat.host, beat.machines)


@shared_task(name="portal.send_outbox")
def send_outbox() -> None:
    """Send what waits."""
    dispatch.send_outbox()


@shared_task(name="portal.clear_expired")
def clear_expired() -> None:
    """Remove console tickets, uploads that nobody came back for, and frozen disks that nothing stands on."""
    tickets_clear_expired()
    clear_expired_uploads()
    clear_leftovers()
    forget_unused()


def _pairs(raw: Any) -> list[tuple[Any, Any]]:
    """The pairs of a list; what is none of them is left out."""
    pairs = raw if isinstance(raw, list) else []
    return [(each[0], each[1]) for each in pairs if isinstance(each, list) and len(each) == 2]


def _body(wire: Any) -> dict[str, Any]:
    """What a message of any version carries; empty where that is not an object."""
    body = wire.get("body") if isinstance(wire, dict) else None
    return body if isinstance(body, dict) else {}


def _refused(answer: Any, error: VersionError) -> None:
    """A host of another version answered: its refusal, too, is in words that this side does not read."""
    log.warning("report refused", error=error.detail)
    try:
        operation_id = UUID(answer["operation_id"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return
    reports.operation_refused(operation_id, error.detail)
