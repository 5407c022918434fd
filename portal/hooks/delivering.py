"""Sending what waits: each hook in a thread of its own, so that one that hangs holds up no other, and no report of a host."""

from __future__ import annotations

import threading
from datetime import timedelta

import structlog
from django.db import connections, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from portal.hooks.models import Delivery, Hook
from portal.hooks.sending import Answer, send
from portal.hooks.services import TEST, give_up_waiting
from portal.live import publish
from portal.notices.services import administrators, tell

MOST_TRIES = 8
OFF_AFTER = 20
"""So many failures in a row, and a hook is switched off."""

_FIRST_PAUSE = timedelta(seconds=10)
_AT_ONCE = 50
_under_way: set[int] = set()
_lock = threading.Lock()
log = structlog.get_logger()


def deliver_in_threads() -> list[int]:
    """Begin with every hook that has something to be sent and is not at it; which."""
    begun = []
    for hook_id in _due().values_list("hook", flat=True).distinct().order_by("hook"):
        with _lock:
            if hook_id in _under_way:
                continue
            _under_way.add(hook_id)
        threading.Thread(target=_run, args=(hook_id,), name=f"hook {hook_id}", daemon=True).start()
        begun.append(hook_id)
    return begun


def deliver(hook_id: int) -> int:
    """Send what waits for a hook, oldest first, until something fails; how many were taken."""
    taken = 0
    for delivery in _due().filter(hook=hook_id).select_related("hook").order_by("at")[:_AT_ONCE]:
        hook = delivery.hook
        if not _claimed(delivery):
            continue
        answer = send(
            hook.address,
            body=delivery.body,
            secret=hook.secret,
            delivery=str(delivery.pk),
            kind=delivery.kind,
        )
        if not _noted(delivery, answer):
            break
        taken += 1
    return taken


def _due() -> QuerySet[Delivery]:
    now = timezone.now()
    waiting = Delivery.objects.filter(done_at=None, given_up_at=None, next_at__lte=now)
    return waiting.filter(Q(hook__is_on=True) | Q(kind=TEST))


def _claimed(delivery: Delivery) -> bool:
    """Mark the try before it is made: who dies in it tries again later, and nobody tries at the same time."""
    pause = _FIRST_PAUSE * 3 ** min(delivery.tries, 6)
    rows = Delivery.objects.filter(pk=delivery.pk, tries=delivery.tries, done_at=None, given_up_at=None)
    return bool(rows.update(tries=F("tries") + 1, next_at=timezone.now() + pause))


def _noted(delivery: Delivery, answer: Answer) -> bool:
    """Write down what came of it; False where it failed."""
    now = timezone.now()
    changes: dict[str, object] = {
        "status": answer.status,
        "problem": answer.problem[:300].replace("\x00", ""),
    }
    if answer.is_taken:
        changes["done_at"] = now
    elif delivery.tries + 1 >= MOST_TRIES or delivery.kind == TEST:
        changes["given_up_at"] = now
    with transaction.atomic():
        Delivery.objects.filter(pk=delivery.pk).update(**changes)
        if answer.is_taken:
            Hook.objects.filter(pk=delivery.hook_id).update(failures=0)
        elif delivery.kind != TEST:
            _count_failure(delivery.hook_id, answer)
        transaction.on_commit(publish.hooks_changed)
    log.info(
        "hook", delivery=str(delivery.pk), hook=delivery.hook_id, status=answer.status, problem=answer.problem
    )
    return answer.is_taken


def _count_failure(hook_id: int, answer: Answer) -> None:
    Hook.objects.filter(pk=hook_id).update(failures=F("failures") + 1)
    if Hook.objects.filter(pk=hook_id, is_on=True, failures__gte=OFF_AFTER).update(is_on=False):
        hook = Hook.objects.get(pk=hook_id)
        give_up_waiting(hook)
        words = {"hook": hook.name, "times": hook.failures, "why": answer.problem}
        tell(administrators(), "hook_switched_off", link=f"/hooks/{hook.pk}/", **words)


def _run(hook_id: int) -> None:
    try:
        deliver(hook_id)
    except Exception:
        log.exception("hook not told", hook=hook_id)
    finally:
        with _lock:
            _under_way.discard(hook_id)
        connections.close_all()
