"""Reports wait where the broker is slow; of figures only the newest few, since older ones would miss their place anyway."""

from __future__ import annotations

import threading
from typing import Any

from celery import Celery

from tests.lab.waiting import wait_for
from workers.contract.figures import TASK_SAMPLES, HostTotals, Samples
from workers.reporting import Reporter


class SlowApp(Celery):
    """Sends nothing before `open` is set; notes what it was given."""

    def __init__(self) -> None:
        super().__init__("slow")
        self.open = threading.Event()
        self.begun = threading.Event()
        self.sent: list[tuple[str, int, float]] = []

    def send_task(self, name: str, *_: Any, **words: Any) -> None:  # type: ignore[override]  # nobody asks for a result
        self.begun.set()
        assert self.open.wait(20)
        self.sent.append((name, words["args"][0]["body"]["at"], words["expires"]))


def test_of_figures_that_wait_only_the_newest_few_are_sent_in_order_and_none_for_ever() -> None:
    app = SlowApp()
    reporter = Reporter(app)
    reporter.send(Samples(host="rack-1", at=0, sequence=0, totals=HostTotals()))
    assert app.begun.wait(20)  # it is on its way, and stuck there
    for number in range(1, 50):
        reporter.send(Samples(host="rack-1", at=5 * number, sequence=number, totals=HostTotals()))
    app.open.set()
    wait_for("the last is sent", lambda: app.sent and app.sent[-1][1] == 5 * 49, seconds=20)
    reporter.close()
    assert app.sent == [(TASK_SAMPLES, at, 20) for at in (0, 5 * 47, 5 * 48, 5 * 49)]
