"""Programs on the host: the only place that starts a process. Lists, no shell, each with a time limit."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.contract.errors import ErrorCode, OffshootError

PROGRAMS = "/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for, whatever the worker's own PATH is."""

_ENVIRONMENT = {"PATH": PROGRAMS, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
_BETWEEN_SECONDS = 0.4


@dataclass(frozen=True)
class Finished:
    """A program that ended: what was run, its exit status (negative: the signal), what it said."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


class CommandError(OffshootError):
    """A program failed or took too long; keeps the whole evidence."""

    code = ErrorCode.COMMAND_FAILED

    def __init__(self, finished: Finished, *, code: ErrorCode = ErrorCode.COMMAND_FAILED) -> None:
        words = finished.stderr.strip() or finished.stdout.strip()
        super().__init__(
            f"{finished.argv[0]} ended with status {finished.status}: {words[-2000:]}", code=code
        )
        self.finished = finished


def run(
    argv: Sequence[str],
    *,
    seconds: float,
    stdin: str = "",
    check: bool = True,
    pass_fds: Sequence[int] = (),
    user: int | None = None,
    group: int | None = None,
    extra_groups: Sequence[int] = (),
    urgent: bool = True,
) -> Finished:
    """Run a program to its end, with a clean environment, at most `seconds` long.

    `urgent`: as the worker itself is. What reads a whole disk is not.

    Raises CommandError with COMMAND_TIMED_OUT (the program and its children are killed), or, where `check`,
    with COMMAND_FAILED for a status other than 0.
    """
    try:
        process = subprocess.Popen(
            [*([] if urgent else _no_more_urgent()), *_as_account(argv, user, group, extra_groups)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_ENVIRONMENT,
            # The kernel shares processors among sessions first (sched(7), autogroup).
            start_new_session=not urgent,
            process_group=0 if urgent else None,
            pass_fds=tuple(pass_fds),
            text=True,
            errors="replace",
        )
    except OSError as exc:
        raise CommandError(Finished(tuple(argv), 127, "", str(exc))) from exc
    try:
        stdout, stderr = process.communicate(stdin, timeout=seconds)
    except subprocess.TimeoutExpired as exc:
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        late = Finished(tuple(argv), process.returncode, stdout, f"{stderr}\n(cut off after {seconds:g} s)")
        raise CommandError(late, code=ErrorCode.COMMAND_TIMED_OUT) from exc
    finished = Finished(tuple(argv), process.returncode, stdout, stderr)
    if check and finished.status != 0:
        raise CommandError(finished)
    return finished


def _as_account(
    argv: Sequence[str],
    user: int | None,
    group: int | None,
    extra_groups: Sequence[int] = (),
    *,
    ends_with_us: bool = False,
) -> list[str]:
    """The command as another account: setpriv(1) changes it and becomes the program, which keeps the process's number.

    Python's own way (user=, group=) copies the worker's whole address space first: with it a start costs 14 ms more.
    `ends_with_us`: the program is killed when the worker is; in one setpriv, since a change of the account takes that back.
    """
    options: list[str] = []
    if user is not None:
        groups = ["--groups", ",".join(map(str, extra_groups))] if extra_groups else ["--clear-groups"]
        options += ["--reuid", str(user), "--regid", str(group), *groups]
    if ends_with_us:
        options += ["--pdeathsig", "KILL"]
    return ["setpriv", *options, "--", *argv] if options else list(argv)


def _no_more_urgent() -> list[str]:
    """What takes long, or outlives us, has the place of any other program among those that want a processor (nice(1))."""
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    return ["nice", "-n", str(-ours)] if ours < 0 else []


def follow(
    argv: Sequence[str],
    *,
    seconds: float,
    heard: Callable[[str], None],
    between: Callable[[], None],
    user: int | None = None,
    group: int | None = None,
) -> Finished:
    """Run a long program to its end and hear each line of its output (ended by \\n or \\r) as it comes.

    `between` is called at least twice a second; what it or `heard` raises ends the program, with its children, first.
    Raises CommandError as `run` does; `seconds` is the most it may take.
    """
    try:
        process = subprocess.Popen(
            [*_no_more_urgent(), *_as_account(argv, user, group, ends_with_us=True)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_ENVIRONMENT,
            start_new_session=True,
        )
    except OSError as exc:
        raise CommandError(Finished(tuple(argv), 127, "", str(exc))) from exc
    try:
        said = _listen(process, tuple(argv), time.monotonic() + seconds, heard, between)
        status = process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()
    finished = Finished(tuple(argv), status, said, "")
    if status != 0:
        raise CommandError(finished)
    return finished


def _listen(
    process: subprocess.Popen[bytes],
    argv: tuple[str, ...],
    deadline: float,
    heard: Callable[[str], None],
    between: Callable[[], None],
) -> str:
    """Everything that the program said, to the end of its output; the last 8 KiB of it."""
    output = process.stdout
    if output is None:
        raise TypeError("a program without an output is not heard")
    said, rest = "", ""
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while True:
            between()
            if time.monotonic() > deadline:
                late = Finished(argv, -signal.SIGKILL, f"{said}\n(cut off: it took too long)", "")
                raise CommandError(late, code=ErrorCode.COMMAND_TIMED_OUT)
            if not selector.select(_BETWEEN_SECONDS):
                continue
            piece = os.read(output.fileno(), 65536)
            if not piece:
                return said
            *lines, rest = re.split(r"[\r\n]+", rest + piece.decode(errors="replace"))
            for line in filter(None, lines):
                heard(line)
            said = (said + piece.decode(errors="replace"))[-8192:]


def spawn(
    argv: Sequence[str],
    *,
    stdout: Path,
    stderr: Path,
    pass_fds: Sequence[int] = (),
    user: int | None = None,
    group: int | None = None,
    extra_groups: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program that outlives the worker: a session of its own, privileges given up before the exec.

    qemu's own -runas dies in its own sandbox, so the kernel does it here (setgroups, setgid, setuid).
    Output is appended to files. Raises CommandError where it cannot be started.
    """
    with stdout.open("ab") as out, stderr.open("ab") as err:
        try:
            return subprocess.Popen(
                [*_no_more_urgent(), *_as_account(argv, user, group, extra_groups)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
                pass_fds=tuple(pass_fds),
            )
        except OSError as exc:
            raise CommandError(Finished(tuple(argv), 127, "", str(exc))) from exc
