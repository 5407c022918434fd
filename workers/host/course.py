"""How a machine's present run goes: why it stands still, and how often its guest restarted itself.

Kept in this process and, so that the worker's next start knows it too, in a file of the machine: its disk may be full.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from workers.contract.messages import PauseReason
from workers.host import processes
from workers.host.files import read_json, write_json
from workers.plan.names import MachineFolder

log = structlog.get_logger()
_known: dict[Path, Course] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class Course:
    """`run` is the run that it is about."""

    run: int
    paused_for: PauseReason | None = None
    guest_resets: int = 0


def of(folder: MachineFolder) -> Course:
    """How the newest run goes. Reads small files at most."""
    run = int(processes.launched(folder).get("run", 0))
    with _lock:
        course = _known.get(folder.root) or _read(folder)
    return course if course is not None and course.run == run else Course(run)


def note(folder: MachineFolder, *, paused_for: PauseReason | None, more_resets: int = 0) -> bool:
    """It goes like this now; False where that is known already."""
    before = of(folder)
    now = replace(before, paused_for=paused_for, guest_resets=before.guest_resets + more_resets)
    with _lock:
        _known[folder.root] = now
    if now == before:
        return False
    try:
        write_json(
            folder.course_file,
            {"run": now.run, "paused_for": now.paused_for, "guest_resets": now.guest_resets},
        )
    except OSError as exc:
        log.warning("how a run goes is not noted", folder=str(folder.root), error=str(exc))
    return True


def forget(folder: MachineFolder) -> None:
    """The run is over; what the file says of it stays."""
    with _lock:
        _known.pop(folder.root, None)


def _read(folder: MachineFolder) -> Course | None:
    raw = read_json(folder.course_file)
    try:
        reason = PauseReason(raw["paused_for"]) if raw["paused_for"] else None
        return Course(int(raw["run"]), reason, int(raw["guest_resets"]))
    except (KeyError, TypeError, ValueError):
        return None  # none yet, or of another version
