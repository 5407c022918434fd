"""What a host's last day looked like: a line each for processors and memory, and two numbers. Pure but for the reading."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from portal.figures.packing import FIELDS, Pair
from portal.figures.selectors import RANGES, Subject, pairs
from portal.fleet.models import Host

_DAY = RANGES["day"]
SLOT_SECONDS = 900
"""A point of a line: the average of so long."""

SLOTS = _DAY.seconds // SLOT_SECONDS
HIGH = 100
_CPU, _MEMORY = FIELDS.index("cpu_own_percent"), FIELDS.index("memory_bytes")


@dataclass(frozen=True)
class Day:
    """`path`: for an SVG of SLOTS by HIGH; `average` and `peak` in per cent, None where nothing is known."""

    path: str
    average: int | None
    peak: int | None


def day_of(host: Host, *, now: float | None = None) -> tuple[Day, Day]:
    """The processors and the memory of a host in the last 24 hours. Three queries."""
    at = int(time.time() if now is None else now)
    found = pairs(Subject(host.pk), _DAY, now=at)
    whole = host.memory_total_mib * 1024 * 1024
    return drawn(found, _CPU, 100, at), drawn(found, _MEMORY, whole, at)


def drawn(found: Mapping[int, Pair], field: int, whole: float, now: int) -> Day:
    """One figure of these points as a line; where nothing was heard it has a gap."""
    slots: dict[int, list[float]] = defaultdict(list)
    peaks = [0.0]
    for moment, (average, peak) in found.items():
        slot = SLOTS - 1 - max(0, now - moment) // SLOT_SECONDS  # the newest minute is not over yet
        if slot >= 0 and whole > 0 and not math.isnan(average[field]):
            slots[slot].append(100 * average[field] / whole)
            peaks.append(100 * peak[field] / whole)
    means = {slot: min(100.0, sum(each) / len(each)) for slot, each in sorted(slots.items())}
    words = []
    for slot, mean in means.items():
        y = HIGH - round(mean)
        # A point alone is a line too: of one slot's length.
        words.append(f"{'L' if slot - 1 in means else 'M'}{slot} {y}h1")
    if not means:
        return Day("", None, None)
    return Day("".join(words), round(sum(means.values()) / len(means)), round(min(100.0, max(peaks))))
