"""What the whole host has counted so far, read from /proc and /sys (proc(5), kernel: iostats.rst)."""

from __future__ import annotations

import os
import time
from pathlib import Path

from workers.host.vitals import TICKS
from workers.plan.figures import (
    Counted,
    Counts,
    Reading,
    disk_counters,
    host_cpu_ticks,
    host_processors,
    machines_disks,
)

_LOOK_SECONDS = 60.0
_NET = Path("/sys/class/net")


class HostCounters:
    """Reads them; which disks and cards are real is looked up once a minute only."""

    def __init__(self) -> None:
        self._disks: frozenset[str] = frozenset()
        self._cards: frozenset[str] = frozenset()
        self._looked: float | None = None

    def read(self, links: dict[str, Counts], links_at: float) -> tuple[Reading, int]:
        """All of it, and the number of processors; `links` is what /proc/net/dev said."""
        self._look()
        stat = Path("/proc/stat").read_text()
        cpu = Counted(time.monotonic(), {"cpu": (host_cpu_ticks(stat) * 1_000_000_000 // TICKS,)})
        disks = disk_counters(Path("/proc/diskstats").read_text(), self._disks)
        return Reading(
            life="host",
            cpu=cpu,
            memory_bytes=_memory_used(Path("/proc/meminfo").read_text()),
            disks=Counted(time.monotonic(), disks),
            links=Counted(links_at, {name: links[name] for name in self._cards if name in links}),
        ), host_processors(stat)

    def _look(self) -> None:
        now = time.monotonic()
        if self._looked is not None and now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        self._disks = machines_disks(os.listdir("/sys/block")) if Path("/sys/block").exists() else frozenset()  # noqa: PTH208
        self._cards = _cards()


def _cards() -> frozenset[str]:
    """The ways out of this host. Bridges, taps and the loopback only hand on what a card counts, or never leave it."""
    found = [
        path for path in _NET.iterdir()
        if path.name != "lo" and not (path / "bridge").exists() and not (path / "tun_flags").exists()
    ] if _NET.exists() else []  # fmt: skip
    real = [path for path in found if (path / "device").exists()]
    return frozenset(path.name for path in real or found)  # a container has no card of its own but a cable


def _memory_used(meminfo: str) -> int:
    kib = {line.partition(":")[0]: int(line.split()[1]) for line in meminfo.splitlines() if ":" in line}
    return max(0, kib["MemTotal"] - kib["MemAvailable"]) * 1024
