"""Starting processes, watching them, ending them. Machines are nobody's children here and go on."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from launch.processes import Process

_PR_SET_PDEATHSIG = 1  # prctl(2)
_LOG_BYTES = 10 * 1024 * 1024
_STOP_SECONDS = 15.0
_LONGEST_PAUSE = 30.0
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class _Running:
    process: Process
    child: subprocess.Popen[bytes]
    started: float
    failures: int = 0
    again_at: float | None = field(default=None)


class Supervisor:
    """The processes of an installation, each with its own log, account and session."""

    def __init__(self, *, folder: Path, logs: Path) -> None:
        self._folder = folder
        self.logs = logs
        self._running: dict[str, _Running] = {}

    def start(self, processes: Iterable[Process]) -> None:
        """Start them all at once."""
        for process in processes:
            self._running[process.name] = _Running(process, self._spawn(process), time.monotonic())

    def ended(self) -> list[tuple[str, str]]:
        """Processes that have ended by themselves, each with its last words."""
        return [
            (name, self.last_words(name))
            for name, running in self._running.items()
            if running.again_at is None and running.child.poll() is not None
        ]

    def restart_ended(self) -> list[str]:
        """Start again what has ended, each time after a longer pause; lines about it."""
        lines = []
        now = time.monotonic()
        for name, running in self._running.items():
            if running.again_at is None and running.child.poll() is not None:
                lasted = now - running.started > _LONGEST_PAUSE
                running.failures = 1 if lasted else running.failures + 1
                pause = min(2.0 ** (running.failures - 1), _LONGEST_PAUSE)
                running.again_at = now + pause
                how = _how(running.child.returncode, self.last_words(name))
                lines.append(f"{name} {how}; it is started again in {pause:.0f} s")
            elif running.again_at is not None and now >= running.again_at:
                running.child = self._spawn(running.process)
                running.started, running.again_at = now, None
        return lines

    def stop(self) -> None:
        """Ask all to end, the last started first; after 15 s they are cut off."""
        children = [running.child for running in reversed(self._running.values())]
        redis = [self._running["redis"].child] if "redis" in self._running else []
        for group in ([child for child in children if child not in redis], redis):
            for child in group:
                if child.poll() is None:
                    child.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + _STOP_SECONDS
            for child in group:
                try:
                    child.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
                with suppress(
                    ProcessLookupError
                ):  # a console's relay, say; each child leads a group of its own
                    os.killpg(child.pid, signal.SIGKILL)
        self._running.clear()

    def last_words(self, name: str) -> str:
        """The last line of a process's log, for a message of one line."""
        path = self.logs / f"{name}.log"
        lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
        words = lines[-1].strip()[:300] if lines else "it said nothing"
        return f"{words} – see {path}"

    def _spawn(self, process: Process) -> subprocess.Popen[bytes]:
        account = pwd.getpwnam(process.account) if process.account else None
        log = self.logs / f"{process.name}.log"
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as out:
            child = subprocess.Popen(
                process.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self._folder,
                env=dict(process.environment),
                start_new_session=True,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
                preexec_fn=_end_with_launcher,
            )
        if process.nice:
            _set_nice(child.pid, process.nice)
        return child


def _set_nice(pid: int, nice: int) -> None:
    """Among the processes and, where the kernel shares by sessions first (sched(7), autogroup), among those.

    A container that may not is no reason to end: pages are slower then while the host is busy.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, nice)
    with suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))


def _end_with_launcher() -> None:
    """Whatever happens to the launcher, its children do not stay behind; machines are not its children's children's."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:  # it ended between fork and here
        os._exit(1)


def _how(status: int, words: str) -> str:
    """How a process ended; what it said last says why only where it ended by itself."""
    if status < 0:
        return f"was ended by signal {-status}"
    return f"ended with status {status} ({words})"
