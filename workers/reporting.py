"""The way of reports to the portal: a thread of its own, so that no operation ever waits for the broker."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from workers.contract.messages import (
    PORTAL_QUEUE,
    TASK_HEARTBEAT,
    TASK_OBSERVED,
    TASK_PROGRESS,
    Heartbeat,
    MachineObserved,
    Progress,
)
from workers.contract.version import Message

_TASKS: dict[type[Message], str] = {
    Progress: TASK_PROGRESS,
    MachineObserved: TASK_OBSERVED,
    Heartbeat: TASK_HEARTBEAT,
}
log = structlog.get_logger()


class Reporter:
    """Sends in order. What cannot be sent is dropped: each heartbeat carries the state of every machine again."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._queue: queue.Queue[Message | type[Heartbeat] | None] = queue.Queue(maxsize=10_000)
        self._beat: Heartbeat | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="reports", daemon=True)
        self._thread.start()

    def send(self, message: Message) -> None:
        """Queue a report; returns at once. Of heartbeats only the newest waits: it holds all that those before it said."""
        queued: Message | type[Heartbeat] = message
        if isinstance(message, Heartbeat):
            with self._lock:
                waits, self._beat = self._beat is not None, message
            if waits:
                return
            queued = Heartbeat
        try:
            self._queue.put_nowait(queued)
        except queue.Full:
            if queued is Heartbeat:
                self._take_beat()
            log.warning("report dropped", kind=type(message).__name__)

    def close(self) -> None:
        """Send what is queued, at most 5 s long."""
        with suppress(queue.Full):
            self._queue.put(None, timeout=5)
        self._thread.join(5)

    def _run(self) -> None:
        while (queued := self._queue.get()) is not None:
            message = queued if isinstance(queued, Message) else self._take_beat()
            if message is None:
                continue
            # A heartbeat that the portal did not get to in time is worth nothing: the next one says more.
            expires = 30 if isinstance(message, Heartbeat) else None
            try:
                self._app.send_task(
                    _TASKS[type(message)],
                    args=[message.to_wire()],
                    queue=PORTAL_QUEUE,
                    expires=expires,
                    retry=False,
                )
            except (OperationalError, OSError) as exc:
                log.warning("report not sent", kind=type(message).__name__, error=str(exc))
            except Exception:
                log.exception("report not sent", kind=type(message).__name__)

    def _take_beat(self) -> Heartbeat | None:
        with self._lock:
            beat, self._beat = self._beat, None
        return beat
