"""The compact form of figures: twelve 32-bit floats a point, NaN where nothing is known. Pure.

A stretch of the finest step holds points; a coarser one holds for each point the average and then the largest. So a gap
stays a gap however coarse it gets, and a short peak stays a peak.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from uuid import UUID

from workers.contract.figures import SAMPLE_SECONDS, Samples, Usage

FIELDS = (
    "cpu_percent", "cpu_own_percent", "memory_bytes", "extra", "disk_read_bytes", "disk_write_bytes", "disk_reads",
    "disk_writes", "net_in_bytes", "net_out_bytes", "net_in_packets", "net_out_packets",
)  # fmt: skip
"""The order in a point. `extra` is the memory that a machine's system uses, a host's load."""

FINE, MINUTES, QUARTERS = SAMPLE_SECONDS, 60, 900
SPANS = {FINE: 60, MINUTES: 3600, QUARTERS: 86_400}
"""Steps, and the seconds that one stretch of each holds."""

KEPT = {FINE: 2 * 3600 + 600, MINUTES: 49 * 3600, QUARTERS: 31 * 86_400}
"""Seconds that stretches of a step are kept: what is shown of them, and until the next coarser one is made for sure."""

Point = tuple[float, ...]
Pair = tuple[Point, Point]
"""Average and largest."""

HOST_KEY = bytes(16)
_POINT = struct.Struct(f"<{len(FIELDS)}f")
_ENTRY = 16 + _POINT.size
_LARGEST = 3e38
NOTHING = _POINT.pack(*[math.nan] * len(FIELDS))


def pack_samples(samples: Samples) -> bytes:
    """A host's message: of the host and of each machine the key (16 bytes) and the point."""
    parts = [HOST_KEY, _packed(samples.totals, samples.totals.load)]
    for machine in samples.machines:
        parts += [machine.machine_id.bytes, _packed(machine, machine.guest_memory_bytes)]
    return b"".join(parts)


def entries(packed: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and points of a host's message."""
    for offset in range(0, len(packed), _ENTRY):
        yield packed[offset : offset + 16], packed[offset + 16 : offset + _ENTRY]


def entry(packed: bytes, key: bytes) -> Point | None:
    """The point of one subject in a host's message; None where it says nothing of it."""
    offset = packed.find(key)
    while offset % _ENTRY and offset >= 0:  # the same bytes by chance inside another entry
        offset = packed.find(key, offset + 1)
    return _POINT.unpack_from(packed, offset + 16) if offset >= 0 else None


def machine_key(machine_id: UUID) -> bytes:
    """The key of a machine in a host's message."""
    return machine_id.bytes


def joined(points: Mapping[int, bytes], start: int) -> bytes:
    """A finest stretch out of the packed points by their time."""
    return b"".join(points.get(at, NOTHING) for at in range(start, start + SPANS[FINE], FINE))


def packed_pairs(pairs: Mapping[int, Pair], step: int, start: int) -> bytes:
    """A coarser stretch."""
    nothing = NOTHING * 2
    return b"".join(
        _POINT.pack(*pairs[at][0]) + _POINT.pack(*pairs[at][1]) if at in pairs else nothing
        for at in range(start, start + SPANS[step], step)
    )


def pairs_of(packed: bytes, step: int, start: int) -> dict[int, Pair]:
    """The points of a stretch by their time; times of which nothing is known are left out."""
    found: dict[int, Pair] = {}
    points = _POINT.iter_unpack(packed)
    if step == FINE:
        for place, point in enumerate(points):
            if _says_something(point):
                found[start + place * step] = (point, point)
        return found
    for place, (average, largest) in enumerate(zip(points, points, strict=True)):
        if _says_something(average):
            found[start + place * step] = (average, largest)
    return found


def coarser(pairs: Mapping[int, Pair], step: int) -> dict[int, Pair]:
    """The same at a coarser step; the time of a point is that of its beginning."""
    groups: dict[int, list[Pair]] = {}
    for at, pair in pairs.items():
        groups.setdefault(at - at % step, []).append(pair)
    return {
        at: (
            _each([average for average, _ in group], _average),
            _each([largest for _, largest in group], max),
        )
        for at, group in groups.items()
    }


def known(values: Iterable[float]) -> list[float]:
    """Those that are numbers."""
    return [value for value in values if not math.isnan(value)]


def _each(points: Sequence[Point], summary: Callable[[list[float]], float]) -> Point:
    found = []
    for values in zip(*points, strict=True):
        numbers = known(values)
        found.append(summary(numbers) if numbers else math.nan)
    return tuple(found)


def _average(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _says_something(point: Point) -> bool:
    return not all(map(math.isnan, point))


def _packed(usage: Usage, extra: float | None) -> bytes:
    values = [extra if name == "extra" else getattr(usage, name) for name in FIELDS]
    return _POINT.pack(*(math.nan if value is None else min(value, _LARGEST) for value in values))
