"""Reports wait where the broker is slow; of figures only the newest few, since older ones would miss their place anyway."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import Celery

from tests.lab.waiting import wait_for
from workers.contract.figures import TASK_SAMPLES, HostTotals, Samples
from workers.contract.messages import REPORT_PROGRESS, TASK_REPORTS, OperationState, Progress
from workers.reporting import Reporter


class SlowApp(Celery):
    """Sends nothing before `open` is set; notes what it was given."""

    def __init__(self) -> None:
        super().__init__("slow")
        self.open = threading.Event()
        self.begun = threading.Event()
        self.sent: list[tuple[str, Any, float | None]] = []

    def send_task(self, name: str, *_: Any, **words: Any) -> None:  # type: ignore[override]  # nobody asks for a result
        self.begun.set()
        assert self.open.wait(20)
        self.sent.append((name, words["args"][0], words["expires"]))


def test_of_figures_that_wait_only_the_newest_few_are_sent_in_order_and_none_for_ever() -> None:
    app = SlowApp()
    reporter = Reporter(app)
    reporter.send(Samples(host="rack-1", at=0, sequence=0, totals=HostTotals()))
    assert app.begun.wait(20)  # it is on its way, and stuck there
    for number in range(1, 50):
        reporter.send(Samples(host="rack-1", at=5 * number, sequence=number, totals=HostTotals()))
    app.open.set()
    wait_for("the last is sent", lambda: app.sent and _at(app.sent[-1][1]) == 5 * 49, seconds=20)
    reporter.close()
    assert [(name, _at(wire), expires) for name, wire, expires in app.sent] == [
        (TASK_SAMPLES, at, 20) for at in (0, 5 * 47, 5 * 48, 5 * 49)
    ]


def test_what_is_to_be_told_within_a_moment_goes_together_in_its_order_and_without_what_is_over() -> None:
    app = SlowApp()
    app.open.set()
    reporter = Reporter(app)
    operations = [uuid4() for _ in range(20)]
    for number, operation in enumerate(operations):
        reporter.send(_progress(operation, OperationState.RUNNING, 2 * number))
        reporter.send(_progress(operation, OperationState.DONE, 2 * number + 1))
    reporter.close()
    told = [
        pair for name, pairs, expires in app.sent for pair in pairs if (name, expires) == (TASK_REPORTS, None)
    ]
    assert [(kind, wire["body"]["operation_id"], wire["body"]["state"]) for kind, wire in told] == [
        (REPORT_PROGRESS, str(operation), "done") for operation in operations
    ]
    assert len(app.sent) <= 3


def test_what_is_told_alone_does_not_wait_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.reporting.GATHER_SECONDS", 3600)
    app = SlowApp()
    app.open.set()
    reporter = Reporter(app)
    reporter.send(_progress(uuid4(), OperationState.DONE, 1))
    wait_for("it is sent", lambda: app.sent, seconds=20)
    reporter.close()


def _progress(operation: UUID, state: OperationState, sequence: int) -> Progress:
    return Progress(
        operation_id=operation, machine_id=uuid4(), generation=1, sequence=sequence, state=state, steps=()
    )


def _at(wire: Any) -> int:
    return int(wire["body"]["at"])
