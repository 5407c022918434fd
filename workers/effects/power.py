"""A machine that runs is made to stand still, to go on, or to begin anew."""

from __future__ import annotations

import time

from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.messages import PauseReason
from workers.effects.work import Work
from workers.host import course, memory, processes, saved
from workers.host.monitor import MonitorError, run_state

NOTED_SECONDS = 3.0


class NotRunning(OffshootError):
    """It ended meanwhile, so there is nothing to do this with."""

    code = ErrorCode.NOT_RUNNING


def pause(work: Work) -> None:
    """Its processors stand still; memory and screen stay as they are."""
    _tell_qemu(work, "stop")
    _await_noted(work, stands_still=True)


def resume(work: Work) -> None:
    """It goes on where it stood. Memory that was saved of it is older than the machine from here on."""
    folder = work.folder
    if folder.memory_draft.exists():  # a worker was killed while it saved
        memory.stop_writing(folder.qmp_socket, work.host.monitors)
    saved.set_aside(folder)
    try:
        _tell_qemu(work, "cont")
    except BaseException:
        if processes.runs(folder) and run_state(folder.qmp_socket, work.host.monitors) != "running":
            saved.put_back(folder)
        raise
    saved.discard(folder)
    _await_noted(work, stands_still=False)


def reset(work: Work) -> None:
    """Press the reset button; also a machine that stands still begins anew."""
    _tell_qemu(work, "system_reset", "cont")
    _await_noted(work, stands_still=False)


def _tell_qemu(work: Work, *commands: str) -> None:
    if not processes.runs(work.folder):
        raise NotRunning("it is off")
    try:
        work.host.monitors.execute(work.folder.qmp_socket, *((command, {}) for command in commands))
    except MonitorError as exc:
        if not processes.runs(work.folder):
            raise NotRunning("it ended") from exc
        raise


def _await_noted(work: Work, *, stands_still: bool) -> None:
    """Wait until whoever listens to its events has noted it, so that the next look at it tells what is.

    Where it stands still again at once (its disk is still full), the note of that is the one to leave alone.
    """
    deadline = time.monotonic() + NOTED_SECONDS
    while (course.of(work.folder).paused_for is not None) is not stands_still:
        if time.monotonic() > deadline:
            [said] = work.host.monitors.execute(work.folder.qmp_socket, ("query-status", {}))
            if said["running"] is not stands_still:  # nobody listens
                course.note(work.folder, paused_for=PauseReason.PERSON if stands_still else None)
            return
        time.sleep(0.01)
