"""A Redis of the test's own on a unix socket, and an ear on the queue that hosts report to."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import redis
from celery import Celery
from kombu import Connection, Consumer, Queue

from tests.lab.waiting import wait_for
from workers.contract.figures import TASK_SAMPLES, Samples
from workers.contract.messages import (
    PORTAL_QUEUE,
    REPORT_OBSERVED,
    REPORT_PROGRESS,
    TASK_APPLY,
    TASK_HEARTBEAT,
    TASK_JOB,
    TASK_REPORTS,
    ApplyMachine,
    DoJob,
    Heartbeat,
    MachineObserved,
    OperationState,
    Progress,
    host_queue,
)
from workers.contract.screens import TASK_LOOK_AT_SCREENS, TASK_SCREEN, LookAtScreens, ScreenSeen
from workers.contract.version import Message, from_wire

_PORT = 6390


class Broker:
    """A running Redis."""

    def __init__(self, folder: Path, *, enter: tuple[str, ...] = (), listens_on: str = "") -> None:
        """With `listens_on` it is reached at that address too, in the namespace that `enter` goes into."""
        folder.mkdir(exist_ok=True)
        self._enter = enter
        self._listen = ("--bind", listens_on, "--protected-mode", "no") if listens_on else ()
        self.tcp_url = f"redis://{listens_on}:{_PORT}/0" if listens_on else ""
        self._folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"redis+socket://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it (again)."""
        self._process = subprocess.Popen(
            [
                *self._enter,
                "redis-server",
                "--port",
                str(_PORT) if self._listen else "0",
                *self._listen,
                "--unixsocket",
                str(self.socket),
                "--save",
                "",
                "--dir",
                str(self._folder),
            ],
            stdout=subprocess.DEVNULL,
        )
        wait_for("Redis answers", self._answers, seconds=10)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It takes connections and answers nothing: what a host that swaps or a disk that stalls looks like."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)
            wait_for("Redis answers again", self._answers, seconds=10)

    def close(self) -> None:
        """Stop it; safe to call twice."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def _answers(self) -> bool:
        client = redis.Redis(unix_socket_path=str(self.socket))
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False
        finally:
            client.close()


_TOGETHER: dict[str, type[Message]] = {REPORT_PROGRESS: Progress, REPORT_OBSERVED: MachineObserved}
_MODELS: dict[str, type[Message]] = {
    TASK_HEARTBEAT: Heartbeat,
    TASK_SAMPLES: Samples,
    TASK_SCREEN: ScreenSeen,
}


class PortalsEar:
    """Stands where the portal stands: sends specs to hosts, collects their reports."""

    def __init__(self, broker: Broker) -> None:
        self._app = Celery("ear", broker=broker.url)
        self._app.conf.update(task_serializer="json", task_publish_retry=False)
        self._url = broker.url
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._reports: list[Message] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def ask(self, host: str, message: ApplyMachine) -> None:
        """Send a wish to a host's queue."""
        self._app.send_task(TASK_APPLY, args=[message.to_wire()], queue=host_queue(host), retry=False)

    def ask_job(self, host: str, message: DoJob) -> None:
        """Ask something of a host that belongs to no machine."""
        self._app.send_task(TASK_JOB, args=[message.to_wire()], queue=host_queue(host), retry=False)

    def look_at(self, host: str, message: LookAtScreens) -> None:
        """Ask a host for pictures of screens."""
        self._app.send_task(
            TASK_LOOK_AT_SCREENS, args=[message.to_wire()], queue=host_queue(host), retry=False
        )

    def reports(self) -> list[Message]:
        """Everything that hosts have said so far."""
        with self._lock:
            return list(self._reports)

    def progress(self, operation_id: UUID) -> list[Progress]:
        """What was said of an operation."""
        said = []
        for report in self.reports():
            machines = report.machines if isinstance(report, Heartbeat) else (report,)
            # An end whose own report was lost comes with the next observation of the machine.
            said += [m.operation if isinstance(m, MachineObserved) else m for m in machines]
        return [r for r in said if isinstance(r, Progress) and r.operation_id == operation_id]

    def end_of(self, operation_id: UUID, *, seconds: float = 60) -> Progress:
        """Wait until the operation has ended, and how."""
        final = (OperationState.DONE, OperationState.FAILED, OperationState.SUPERSEDED)

        def ended() -> Progress | None:
            return next((r for r in self.progress(operation_id) if r.state in final), None)

        try:
            return wait_for(f"operation {operation_id} ends", ended, seconds=seconds)
        except AssertionError as exc:
            raise AssertionError(f"{exc}; heard {self.progress(operation_id)} in {self.reports()}") from exc

    def observed(
        self, machine_id: UUID, fits: Callable[[MachineObserved], bool], *, seconds: float = 30
    ) -> MachineObserved:
        """Wait until a host says something of the machine that fits."""

        def fitting() -> MachineObserved | None:
            mine = []
            for report in self.reports():
                machines = report.machines if isinstance(report, Heartbeat) else (report,)
                mine += [m for m in machines if isinstance(m, MachineObserved) and m.machine_id == machine_id]
            return next((m for m in reversed(mine) if fits(m)), None)

        return wait_for(f"a fitting report of machine {machine_id}", fitting, seconds=seconds)

    def heartbeat(self, host: str, *, since: int = 0, seconds: float = 30) -> Heartbeat:
        """Wait for a heartbeat of the host that is later than `since` (a sequence)."""

        def beat() -> Heartbeat | None:
            beats = [
                r
                for r in self.reports()
                if isinstance(r, Heartbeat) and r.host == host and r.sequence > since
            ]
            return beats[-1] if beats else None

        return wait_for(f"{host} beats", beat, seconds=seconds)

    def close(self) -> None:
        """Stop listening."""
        self._stop.set()
        self._thread.join(10)
        self._app.close()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                with Connection(self._url) as connection:
                    queue = Queue(PORTAL_QUEUE)
                    with Consumer(connection, queues=[queue], callbacks=[self._take], accept=["json"]):
                        while not self._stop.is_set():
                            try:
                                connection.drain_events(timeout=0.2)
                            except TimeoutError:
                                continue
            except (OSError, redis.ConnectionError, connection_errors()):
                time.sleep(0.1)

    def _take(self, body: Any, message: Any) -> None:
        task, said = message.headers["task"], body[0][0]
        if task == TASK_REPORTS:
            reports = [from_wire(_TOGETHER[kind], wire) for kind, wire in said]
        else:
            reports = [from_wire(_MODELS[task], said)]
        with self._lock:
            self._reports += reports
        message.ack()


def connection_errors() -> type[Exception]:
    """What kombu raises where the broker is away."""
    from kombu.exceptions import OperationalError

    return OperationalError
