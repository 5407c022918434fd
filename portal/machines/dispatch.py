"""The outbox: the only place that sends to hosts. Nothing here ever waits for a broker that is away."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from kombu import pools
from kombu.exceptions import KombuError

from portal.activity.models import OPEN_STATES, Operation
from workers.contract.messages import (
    TASK_APPLY,
    TASK_FORGET_IMAGE,
    TASK_JOB,
    ForgetImage,
    OperationState,
    host_queue,
)
from workers.contract.screens import TASK_LOOK_AT_SCREENS, LookAtScreens

if TYPE_CHECKING:
    from celery import Celery

UNHEARD_SECONDS = 20
"""A sent message that a living host says nothing of for so long is sent again; applying it twice changes nothing."""

_ASK_WAITS_SECONDS = 90
_ANSWERS_WITHIN_SECONDS = 2
"""A broker that takes longer hangs; the request is answered, and the message goes later."""

log = structlog.get_logger()


def send_on_commit(operation: Operation) -> None:
    """Hand the operation to its host once the transaction is safe."""
    transaction.on_commit(lambda: send(operation))


def send(operation: Operation) -> bool:
    """Give the message to the broker; False where it is away, then the periodic task tries again."""
    if operation.host is None or _waits(operation):
        return False
    task = TASK_APPLY if "spec" in operation.message["body"] else TASK_JOB
    if not _publish(task, operation.message, operation.host.name, operation=str(operation.pk)):
        return False
    Operation.objects.filter(pk=operation.pk).update(sent_at=timezone.now())
    return True


def _waits(operation: Operation) -> bool:
    """What it comes after is not done yet."""
    return operation.after is not None and operation.after.state != OperationState.DONE


def send_outbox() -> int:
    """Send what was not sent, and again what a living host has not answered; how many were sent."""
    now = timezone.now()
    unheard = Q(state="queued", sent_at__lt=now - timedelta(seconds=UNHEARD_SECONDS))
    # One that was begun reports its progress; a worker that died in it takes it up again by itself when it starts.
    quiet_since = now - timedelta(seconds=_ASK_WAITS_SECONDS)
    unanswered = Q(reported_at__isnull=True) | Q(reported_at__lt=quiet_since)
    # Both are that old: it was neither heard of nor sent again since.
    stuck = unanswered & Q(state="running", sent_at__lt=quiet_since)
    alive = Q(host__last_seen__gte=now - timedelta(seconds=settings.HOST_SILENT_SECONDS))
    waiting = (
        Operation.objects.filter(state__in=OPEN_STATES)
        .filter(Q(sent_at__isnull=True) | (alive & (unheard | stuck)))
        .filter(Q(after__isnull=True) | Q(after__state=OperationState.DONE))
        .select_related("host", "after")
        .order_by("created_at")
    )
    sent = 0
    for operation in waiting[:500]:
        if not send(operation):
            break
        sent += 1
    return sent


def forget_image(image_id: UUID, hosts: list[str]) -> None:
    """Tell hosts that their copies of an image may go. A copy that stays by a lost message wastes room, no more."""
    message = ForgetImage(image_id=image_id).to_wire()
    for host in hosts:
        _publish(TASK_FORGET_IMAGE, message, host, image=str(image_id))


def look_at_screens(message: LookAtScreens, host: str) -> None:
    """Ask a host for pictures; nobody waits for one that comes late."""
    _publish(TASK_LOOK_AT_SCREENS, message.to_wire(), host, expires=30)


def _publish(task: str, message: Any, host: str, expires: float | None = None, **words: str) -> bool:
    app = _celery()
    # Its own connection, less patient than the one on which the portal's worker waits for reports.
    connection = app.connection_for_write(transport_options={"socket_timeout": _ANSWERS_WITHIN_SECONDS})
    try:
        with pools.producers[connection].acquire(block=True, timeout=_ANSWERS_WITHIN_SECONDS) as producer:
            app.send_task(
                task, args=[message], queue=host_queue(host), producer=producer, retry=False, expires=expires
            )
    # Not only its OperationalError: a pool that too many wait for says LimitExceeded.
    except (KombuError, OSError) as exc:
        log.warning("not sent", task=task, host=host, error=str(exc), **words)
        return False
    log.info("sent", task=task, host=host, **words)
    return True


def _celery() -> Celery:
    from portal.celery import app  # noqa: PLC0415  it sets Django up, so it cannot be imported from inside it

    return app
