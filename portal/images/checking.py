"""Disk images are looked at by a host before anybody can use them: asked for, asked for again, and what came of it."""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.db import transaction
from django.utils import timezone

from portal.activity.models import OPEN_STATES, Kind, Operation
from portal.audit.services import operation_ended
from portal.fleet.models import Host
from portal.fleet.selectors import hosts_alive
from portal.images.models import Image, ImageState
from portal.live import publish
from portal.machines.asking import record_job
from workers.contract.disks import DiscSpec
from workers.contract.errors import ErrorCode
from workers.contract.jobs import CheckImage, ImageFacts
from workers.contract.messages import OperationState, Progress

_AGAIN_AFTER = timedelta(minutes=1)
"""Not refused, but not looked at either: the host was full, or could not fetch it."""

log = structlog.get_logger()


def begin(image: Image) -> bool:
    """Have a living host look at the image; False where there is none. Call it in a transaction."""
    host = _host()
    if host is None:
        return False
    spec = DiscSpec(image_id=image.pk, size_bytes=image.size_bytes, sha256=image.sha256)
    record_job(host, Kind.CHECK_IMAGE, image.added_by, job=CheckImage(image=spec), about=image.pk)
    return True


def go_on() -> int:
    """Ask for what waits for a host, and again where the host died or could not look; how many were asked for."""
    asked = 0
    for image_id in Image.objects.filter(state=ImageState.CHECKING).values_list("pk", flat=True):
        with transaction.atomic():
            image = (
                Image.objects.select_for_update(of=("self",))
                .filter(pk=image_id, state=ImageState.CHECKING)
                .first()
            )
            if image is not None and _is_due(image) and begin(image):
                asked += 1
    return asked


def settle_check(operation: Operation, progress: Progress) -> None:
    """What the host found. An image that was deleted meanwhile, or that another host has answered for, stays as it is."""
    if operation.about is None:
        return
    image = (
        Image.objects.select_for_update(of=("self",))
        .filter(pk=operation.about, state=ImageState.CHECKING)
        .first()
    )
    if image is None:
        return
    if progress.state is OperationState.DONE and isinstance(progress.facts, ImageFacts):
        image.state, image.problem = ImageState.READY, ""
        image.format, image.virtual_bytes = progress.facts.format, progress.facts.virtual_bytes
    elif progress.error is not None and progress.error.code is ErrorCode.IMAGE_REFUSED:
        image.state, image.problem = ImageState.REFUSED, progress.error.detail.replace("\x00", "")
    else:
        return
    image.save(update_fields=["state", "problem", "format", "virtual_bytes"])
    log.info("disk image looked at", image=str(image.pk), state=image.state)
    transaction.on_commit(publish.library_changed)


def _is_due(image: Image) -> bool:
    newest = (
        Operation.objects.select_related("host")
        .filter(kind=Kind.CHECK_IMAGE, about=image.pk)
        .order_by("-created_at")
        .first()
    )
    if newest is None:
        return True
    if newest.state not in OPEN_STATES:
        return (newest.finished_at or newest.created_at) < timezone.now() - _AGAIN_AFTER
    if newest.host is not None and newest.host in hosts_alive():
        return False
    if _host() is None:
        return False
    # Its host is gone. Whatever it says of it later, this one is over.
    over = Operation.objects.filter(pk=newest.pk, state__in=OPEN_STATES)
    if over.update(state=OperationState.SUPERSEDED, finished_at=timezone.now()):
        newest.state = OperationState.SUPERSEDED
        operation_ended(newest)
    return True


def _host() -> Host | None:
    """The living host with the most room on its disk."""
    return hosts_alive().order_by("-disk_free_mib", "pk").first()
