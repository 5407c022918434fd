"""The guard of a bridge's change: a process of its own, started before it, that undoes it where nobody confirms it in time."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from workers.contract.errors import OffshootError
from workers.host import uplinks
from workers.plan.names import StateFolder

_PAUSE_SECONDS = 0.1
_TRIES = 60


def main(root: str, bridge: str, identity: str, seconds: str) -> None:
    """Wait until the change is confirmed or undone, at most `seconds`; then undo it, however often that must be tried."""
    state = StateFolder(Path(root))
    if uplinks.waits(state, bridge, identity):
        uplinks.note_guard(state, bridge, identity)
    deadline = time.monotonic() + float(seconds)
    while uplinks.waits(state, bridge, identity):
        if time.monotonic() > deadline:
            _undo(state, bridge, identity)
            return
        time.sleep(_PAUSE_SECONDS)


def _undo(state: StateFolder, bridge: str, identity: str) -> None:
    for _ in range(_TRIES):
        try:
            uplinks.roll_back(state, bridge, only=identity)
        except (OffshootError, OSError) as exc:
            sys.stderr.write(f"not undone yet: {exc}\n")
            time.sleep(1)
        else:
            return
