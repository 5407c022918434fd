"""The way of reports to the portal: a thread of its own, so that no operation ever waits for the broker."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import deque
from contextlib import suppress
from uuid import UUID

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from workers.contract.figures import TASK_SAMPLES, Samples
from workers.contract.messages import (
    PORTAL_QUEUE,
    REPORT_OBSERVED,
    REPORT_PROGRESS,
    TASK_HEARTBEAT,
    TASK_REPORTS,
    Heartbeat,
    MachineObserved,
    OperationState,
    Progress,
)
from workers.contract.screens import TASK_SCREEN, ScreenSeen
from workers.contract.version import Message

_TOGETHER: dict[type[Message], str] = {Progress: REPORT_PROGRESS, MachineObserved: REPORT_OBSERVED}
"""What is sent together with others of a moment, and as what."""

_TASKS: dict[type[Message], str] = {
    Heartbeat: TASK_HEARTBEAT,
    Samples: TASK_SAMPLES,
    ScreenSeen: TASK_SCREEN,
}
_EXPIRES: dict[type[Message], float] = {Heartbeat: 30, Samples: 20, ScreenSeen: 30}
"""Seconds after which a report is worth nothing: of a heartbeat the next one says more, figures have missed their place."""

_WAITING_SAMPLES = 3
log = structlog.get_logger()


GATHER_SECONDS = 0.2
"""What comes so soon after something was sent waits for the rest of that time, and goes together: where fifty machines start at
once, a message for each word would take a tenth of what their start does."""

_MOST_TOGETHER = 100
PACE_SECONDS = 0.15
"""How far an operation is, is told so often at most: the steps of a start that takes no longer need no page of their own."""


class Reporter:
    """Sends in order. What cannot be sent is dropped: each heartbeat carries the state of every machine again.

    How far an operation is waits a moment for what comes after it, and is left out where its end is there by then.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._queue: queue.Queue[Message | type[Message] | None] = queue.Queue(maxsize=10_000)
        self._samples: deque[Samples] = deque(maxlen=_WAITING_SAMPLES)
        self._beat: Heartbeat | None = None
        self._held: dict[UUID, tuple[float, Progress]] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="reports", daemon=True)
        self._thread.start()

    def send(self, message: Message) -> None:
        """Queue a report; returns at once. Of heartbeats only the newest waits: it holds all that those before it said.

        Of figures the newest few wait: older ones would come too late for the portal anyway.
        """
        queued: Message | type[Message] = message
        if isinstance(message, Progress) and message.state is OperationState.RUNNING:
            with self._lock:
                due, _ = self._held.get(message.operation_id, (0.0, None))
                self._held[message.operation_id] = (due or time.monotonic() + PACE_SECONDS, message)
            if due:
                return
            queued = Progress
        if isinstance(message, Heartbeat):
            with self._lock:
                waits, self._beat = self._beat is not None, message
            if waits:
                return
            queued = Heartbeat
        if isinstance(message, Samples):
            with self._lock:
                is_full = len(self._samples) == _WAITING_SAMPLES
                self._samples.append(message)  # the oldest makes room
            if is_full:
                return
            queued = Samples
        try:
            self._queue.put_nowait(queued)
        except queue.Full:
            if queued is Heartbeat:
                self._take_beat()
            if queued is Samples:
                self._take_samples()
            log.warning("report dropped", kind=type(message).__name__)

    def close(self) -> None:
        """Send what is queued, at most 5 s long."""
        with suppress(queue.Full):
            self._queue.put(None, timeout=5)
        self._thread.join(5)

    def _run(self) -> None:
        gathered: list[Message] = []
        sent_at = -math.inf
        while True:
            try:
                queued = self._queue.get(timeout=self._seconds_to_the_next(gathered, sent_at))
            except queue.Empty:
                queued = Progress
            is_last = queued is None
            message: object = queued
            if queued is Heartbeat:
                message = self._take_beat()
            elif queued is Samples:
                message = self._take_samples()
            if isinstance(message, Message) and type(message) in _TOGETHER:
                self._drop_held(message)
                gathered.append(message)
            elif isinstance(message, Message):
                self._send(_TASKS[type(message)], message.to_wire(), _EXPIRES.get(type(message)))
            gathered += self._take_held(due_only=not is_last)
            is_due = time.monotonic() >= sent_at + GATHER_SECONDS or len(gathered) >= _MOST_TOGETHER
            if gathered and (is_due or is_last):
                pairs = [[_TOGETHER[type(each)], each.to_wire()] for each in gathered]
                self._send(TASK_REPORTS, pairs, None)
                gathered, sent_at = [], time.monotonic()
            if is_last:
                return

    def _send(self, task: str, argument: object, expires: float | None) -> None:
        try:
            self._app.send_task(
                task,
                args=[argument],
                queue=PORTAL_QUEUE,
                expires=expires,
                retry=False,
                argsrepr="",  # else Celery writes the whole report a second time, for its logs
            )
        except (OperationalError, OSError) as exc:
            log.warning("report not sent", task=task, error=str(exc))
        except Exception:
            log.exception("report not sent", task=task)

    def _seconds_to_the_next(self, gathered: list[Message], sent_at: float) -> float | None:
        """Until something that is held or gathered is due; None where nothing is."""
        with self._lock:
            dues = [due for due, _ in self._held.values()]
        if gathered:
            dues.append(sent_at + GATHER_SECONDS)
        return max(0.0, min(dues) - time.monotonic()) if dues else None

    def _take_held(self, *, due_only: bool = True) -> list[Progress]:
        now = time.monotonic()
        with self._lock:
            ready = [key for key, (due, _) in self._held.items() if due <= now or not due_only]
            return [self._held.pop(key)[1] for key in ready]

    def _drop_held(self, message: Message) -> None:
        """The end of an operation says all that was said on the way."""
        end = message.operation if isinstance(message, MachineObserved) else message
        if isinstance(end, Progress):
            with self._lock:
                self._held.pop(end.operation_id, None)

    def _take_samples(self) -> Samples | None:
        with self._lock:
            return self._samples.popleft() if self._samples else None

    def _take_beat(self) -> Heartbeat | None:
        with self._lock:
            beat, self._beat = self._beat, None
        return beat
