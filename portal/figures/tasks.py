"""Figures from hosts, and their rolling up: parse, call a service."""

from __future__ import annotations

from typing import Any

import structlog
from celery import shared_task

from portal.figures import services
from workers.contract.errors import MessageError
from workers.contract.figures import TASK_SAMPLES, Samples
from workers.contract.version import from_wire

log = structlog.get_logger()


@shared_task(name=TASK_SAMPLES)
def samples(wire: Any) -> None:
    """A host says what it and its machines take."""
    try:
        services.samples_take(from_wire(Samples, wire))
    except MessageError as exc:  # of another version, too: the heartbeat says that on the host's page
        log.warning("figures refused", error=exc.detail[:2000])


@shared_task(name="portal.roll_up_figures")
def roll_up_figures() -> None:
    """Make what is older coarser."""
    services.roll_up()
