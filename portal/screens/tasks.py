"""Pictures from hosts: parse, call a service."""

from __future__ import annotations

from typing import Any

import structlog
from celery import shared_task

from portal.screens import services
from workers.contract.errors import MessageError
from workers.contract.screens import TASK_SCREEN, ScreenSeen
from workers.contract.version import from_wire

log = structlog.get_logger()


@shared_task(name=TASK_SCREEN)
def screen(wire: Any) -> None:
    """A host has looked at a machine's screen."""
    try:
        services.screen_take(from_wire(ScreenSeen, wire))
    except MessageError as exc:
        log.warning("picture refused", error=exc.detail[:500])
