"""Ending a process that is known by its arguments, and only that one."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path


def kill_by_arguments(*wanted: str) -> None:
    """SIGKILL to every process whose command line has these arguments in a row."""
    for pid in _pids(wanted):
        handle = os.pidfd_open(pid)
        try:
            if pid in _pids(wanted):  # the same process still, now that the handle holds it
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)


def pids_by_arguments(*wanted: str) -> list[int]:
    """The processes whose command line has these arguments in a row."""
    return _pids(wanted)


def _pids(wanted: Sequence[str]) -> list[int]:
    row = [argument.encode() for argument in wanted]
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(arguments[i : i + len(row)] == row for i in range(len(arguments) - len(row) + 1)):
            found.append(int(path.parent.name))
    return found
