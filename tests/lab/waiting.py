"""Waiting for the thing itself, with a limit; never for a time to pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(what: str, ask: Callable[[], T | None], *, seconds: float = 30.0, pause: float = 0.05) -> T:
    """The first true answer of `ask`. Fails with `what` where none came within `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(pause)
