"""A machine's qemu: starting it, finding it again, ending it.

Whether one runs is told by a lock that qemu itself inherits and holds until its last instruction: it cannot be
stale, and two can never run at once. Which machine it is, is told by the uuid that answers on its monitor.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from workers.contract.errors import ErrorCode, OffshootError
from workers.host import cgroups
from workers.host.commands import spawn
from workers.host.files import read_json, tail, write_json, write_text
from workers.host.locks import is_held, try_lock, wait_free
from workers.host.monitor import MonitorError, MonitorLoop
from workers.host.signals import kill_by_arguments
from workers.killpoints import reached
from workers.plan.names import MachineFolder

LAUNCH_SECONDS = 20.0
_QUIT_SECONDS = 5.0
_children: dict[UUID, subprocess.Popen[bytes]] = {}
"""The qemus that this very process started, for their exit status; others are init's to reap."""


class LaunchError(OffshootError):
    """qemu did not come up; the detail has its own words."""

    code = ErrorCode.LAUNCH_FAILED


def runs(folder: MachineFolder) -> bool:
    """A qemu of this machine lives."""
    return is_held(folder.life_lock)


def launched(folder: MachineFolder) -> dict[str, Any]:
    """What the last qemu was started with: run, generation, argv, accelerator, disc."""
    raw = read_json(folder.launched_file)
    return raw if isinstance(raw, dict) else {}


def start(
    folder: MachineFolder,
    machine_id: UUID,
    argv: Sequence[str],
    *,
    line_fds: Sequence[int],
    monitors: MonitorLoop,
    uid: int,
    gid: int,
    extra_groups: Sequence[int],
    record: dict[str, Any],
) -> None:
    """Start qemu as its own account and wait until its monitor answers with the machine's uuid.

    Closes `line_fds` (taps, the TPM's line): from here on only qemu has them. Raises LaunchError; then no qemu is left,
    and what was known of the run before is known again.
    """
    life = try_lock(folder.life_lock)
    descriptors = [descriptor for descriptor in (life, *line_fds) if descriptor is not None]
    try:
        if life is None:
            raise LaunchError("another qemu of this machine is running already")
        with _known_again_on_failure(folder):
            _fresh_run_folder(folder, uid, gid)
            folder.ended_file.unlink(missing_ok=True)
            folder.intent_file.unlink(missing_ok=True)
            write_json(folder.launched_file, record | {"argv": list(argv)})
            folder.qemu_log.write_bytes(b"")
            reached("launch noted")
            process = spawn(
                argv,
                stdout=folder.qemu_log,
                stderr=folder.qemu_log,
                pass_fds=descriptors,
                user=uid,
                group=gid,
                extra_groups=extra_groups,
            )
            while descriptors:
                os.close(descriptors.pop())
            reached("qemu spawned")
            _children[machine_id] = process
            cgroups.adopt(machine_id, process.pid)
            with cgroups.hurried(machine_id, process.pid):
                reached("machine hurried")
                _await_monitor(folder, machine_id, process, monitors)
    finally:
        while descriptors:
            os.close(descriptors.pop())


@contextmanager
def _known_again_on_failure(folder: MachineFolder) -> Iterator[None]:
    """Where what is done inside fails, the last run that ended is known again, and no run is said to have begun."""
    over = folder.ended_file.read_text() if folder.ended_file.exists() else ""
    try:
        yield
    except Exception:
        folder.launched_file.unlink(missing_ok=True)
        if over:
            write_text(folder.ended_file, over)
        raise


def answers(folder: MachineFolder, machine_id: UUID, monitors: MonitorLoop) -> bool:
    """The living qemu's monitor says this uuid. Waits a moment for one that was started just now.

    Raises MonitorError where it says nothing: a slow one is not another machine's.
    """
    deadline = time.monotonic() + LAUNCH_SECONDS
    while runs(folder):
        try:
            [said] = monitors.execute(folder.qmp_socket, ("query-uuid", {}))
            return bool(said["UUID"] == str(machine_id))
        except MonitorError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    return False


def kill(folder: MachineFolder, machine_id: UUID, monitors: MonitorLoop) -> None:
    """End qemu at once: asked by its monitor, then by SIGKILL. Returns when it is gone."""
    if not runs(folder):
        return
    try:
        monitors.execute(folder.qmp_socket, ("quit", {}), seconds=_QUIT_SECONDS)
    except MonitorError:
        pass  # it may hang, or be gone; the next lines see to either
    else:
        if wait_free(folder.life_lock, seconds=5):
            return
    kill_by_arguments("-uuid", str(machine_id))
    if not wait_free(folder.life_lock, seconds=10):
        raise OffshootError("qemu does not end, not even by SIGKILL: the host's disk may hang")


def exit_words(folder: MachineFolder, machine_id: UUID) -> str:
    """How qemu ended, as far as it is known: its signal or status and its last words."""
    child = _children.pop(machine_id, None)
    status = ""
    if child is not None:
        try:
            code = child.wait(5)
            status = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        except subprocess.TimeoutExpired:
            pass
    cgroups.drop(machine_id)
    return "\n".join(part for part in (status, tail(folder.qemu_log, most_bytes=2000).strip()) if part)


def _await_monitor(
    folder: MachineFolder, machine_id: UUID, process: subprocess.Popen[bytes], monitors: MonitorLoop
) -> None:
    deadline = time.monotonic() + LAUNCH_SECONDS
    problem = "its monitor did not answer in time"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            problem = ""
            break
        if folder.qmp_socket.exists():
            try:
                [said] = monitors.execute(folder.qmp_socket, ("query-uuid", {}))
            except MonitorError:
                time.sleep(0.005)
                continue
            if said["UUID"] == str(machine_id):
                return
        time.sleep(0.002)
    process.kill()
    words = exit_words(folder, machine_id)
    raise LaunchError("\n".join(part for part in (problem, words) if part))


def _fresh_run_folder(folder: MachineFolder, uid: int, gid: int) -> None:
    """qemu's own folder, emptied: sockets of an earlier run would be in the way."""
    shutil.rmtree(folder.run, ignore_errors=True)
    folder.run.mkdir(mode=0o700)
    os.chown(folder.run, uid, gid)
