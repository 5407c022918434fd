"""What outlives its starter by design: the qemus, dnsmasqs and TPMs of one folder, each ended by its own pid."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.lab.waiting import wait_for

QEMU, DNSMASQ, SWTPM = "qemu-system", "dnsmasq", "swtpm"


def processes_of(folder: Path, *programs: str) -> list[int]:
    """The living processes of these programs (all: qemus, dnsmasqs and TPMs) that have the folder in their command line."""
    names = tuple(program.encode() for program in programs or (QEMU, DNSMASQ, SWTPM))
    needle = f"{folder}/".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue
        if command.startswith(names) and needle in command:
            found.append(int(path.parent.name))
    return found


def end_processes_of(folder: Path) -> None:
    """None of them runs any more."""
    for pid in processes_of(folder):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    wait_for(f"nothing of {folder} runs", lambda: not processes_of(folder), seconds=20)
