"""How qemu-img is run on what a person brought: no format is guessed, nothing else is opened, every resource has a limit."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from workers.contract.disks import GIB, MIB
from workers.plan.imageformats.reading import DiskFacts

_MOST_OPEN_FILES = 64
_MOST_THREADS = 128


@dataclass(frozen=True)
class Limits:
    """What one run may take: memory and written files in bytes, processor time in seconds."""

    cpu_seconds: int
    file_bytes: int
    memory_bytes: int = 2 * GIB


LOOK = Limits(cpu_seconds=20, file_bytes=4 * MIB)
"""Reading a header and saying it."""


def confined(argv: tuple[str, ...], limits: Limits, *, account: int) -> tuple[str, ...]:
    """The same, without a network, without rights, as a number that owns nothing, within the limits."""
    return (
        *("unshare", "--net", "--ipc", "--"),
        *("setpriv", "--reuid", str(account), "--regid", str(account), "--clear-groups", "--no-new-privs"),
        *("--bounding-set=-all", "--inh-caps=-all", "--pdeathsig", "KILL", "--"),
        *(
            "prlimit",
            f"--as={limits.memory_bytes}",
            f"--cpu={limits.cpu_seconds}",
            f"--fsize={limits.file_bytes}",
        ),
        *(f"--nofile={_MOST_OPEN_FILES}", f"--nproc={_MOST_THREADS}", "--core=0", "--"),
        *argv,
    )


def node(facts: DiskFacts, path: str) -> str:
    """The image as qemu's block node: every driver by its name, and never a backing file (qemu: QAPI, BlockdevOptions)."""
    file: dict[str, object] = {"driver": "file", "filename": path, "read-only": True}
    if facts.archive:
        file = {"driver": "raw", "offset": facts.at, "size": facts.length, "file": file}
    image: dict[str, object] = {"driver": facts.format.value, "read-only": True, "file": file}
    if facts.format.value in ("qcow2", "vmdk"):
        image["backing"] = None
    if facts.format.value == "vpc":
        image["force_size_calc"] = "current_size"
    return "json:" + json.dumps(image)


def info_argv(facts: DiskFacts, path: str) -> tuple[str, ...]:
    """What qemu itself makes of it, as JSON."""
    return ("qemu-img", "info", "--output=json", node(facts, path))


def check_argv(facts: DiskFacts, path: str) -> tuple[str, ...]:
    """Whether its tables are sound; ends with 0, with 2 for damage, with 3 for wasted room, with 63 where it has no tables."""
    return ("qemu-img", "check", "-q", node(facts, path))


def convert_argv(facts: DiskFacts, path: str, target: str) -> tuple[str, ...]:
    """All of its content into a flat qcow2 image, told in per cent, and flushed at the end."""
    return ("qemu-img", "convert", "-p", "-t", "writeback", "-O", "qcow2", node(facts, path), target)


def percent_of(words: str) -> int | None:
    """The last per cent in what `qemu-img -p` has said, as in "(12.50/100%)"."""
    found = re.findall(r"\((\d+)(?:\.\d+)?/100%\)", words)
    return int(found[-1]) if found else None
