"""Reading figures: of a subject over a range of time, and of many machines just now."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Max

from portal.figures.models import Fresh, HostStretch, MachineStretch
from portal.figures.packing import (
    FIELDS,
    FINE,
    HOST_KEY,
    MINUTES,
    QUARTERS,
    SPANS,
    Pair,
    coarser,
    entry,
    machine_key,
    pairs_of,
)

_NOW_SECONDS = 20
"""What was said longer ago is not now."""


@dataclass(frozen=True)
class Range:
    """What can be looked at: so many seconds back, a point every `step`."""

    name: str
    seconds: int
    step: int


RANGES = {
    each.name: each
    for each in (
        Range("hour", 3600, FINE),
        Range("day", 86_400, MINUTES),
        Range("month", 30 * 86_400, QUARTERS),
    )
}


@dataclass(frozen=True)
class Subject:
    """Whose figures: a host's own, or those of a machine on it."""

    host_id: int
    machine_id: UUID | None = None

    @property
    def key(self) -> bytes:
        """In the host's messages."""
        return HOST_KEY if self.machine_id is None else machine_key(self.machine_id)

    def stretches(self, step: int, since: int) -> list[tuple[int, bytes]]:
        """Start and points of its stretches that reach beyond `since`. One query."""
        rows = (
            HostStretch.objects.filter(host_id=self.host_id)
            if self.machine_id is None
            else MachineStretch.objects.filter(machine_id=self.machine_id)
        )
        found = rows.filter(step=step, start__gt=since - SPANS[step]).values_list("start", "packed")
        return [(start, bytes(packed)) for start, packed in found]


def pairs(subject: Subject, span: Range, *, now: float | None = None) -> dict[int, Pair]:
    """The points of a range by their time; where nothing is known there is none. Two to four queries."""
    at = int(time.time() if now is None else now)
    since = at - span.seconds
    found = _fine(subject, since if span.step == FINE else 0)
    if span.step in (MINUTES, QUARTERS):
        found = _with(_kept(subject, MINUTES, since), coarser(found, MINUTES))
    if span.step == QUARTERS:
        found = _with(_kept(subject, QUARTERS, since), coarser(found, QUARTERS))
    return {moment: pair for moment, pair in sorted(found.items()) if since < moment <= at + span.step}


@dataclass(frozen=True)
class Now:
    """What a machine takes just now; None where it is not known."""

    cpu_percent: float | None
    memory_bytes: float | None

    @property
    def memory_mib(self) -> int | None:
        """For the template."""
        return None if self.memory_bytes is None else round(self.memory_bytes / (1 << 20))


def now_of(machines: Mapping[int, Collection[UUID]], *, now: float | None = None) -> dict[UUID, Now]:
    """What these machines, by their host, take just now. One query, however many; who is not known is left out."""
    since = int(time.time() if now is None else now) - _NOW_SECONDS
    newest = (
        Fresh.objects.filter(host_id__in=list(machines), at__gte=since).values("host").annotate(n=Max("pk"))
    )
    found = {}
    for host_id, packed in Fresh.objects.filter(pk__in=newest.values("n")).values_list("host_id", "packed"):
        for machine_id in machines[host_id]:
            point = entry(bytes(packed), machine_key(machine_id))
            if point is not None:
                values = dict(zip(FIELDS, point, strict=True))
                found[machine_id] = Now(_known(values["cpu_own_percent"]), _known(values["memory_bytes"]))
    return found


def _fine(subject: Subject, since: int) -> dict[int, Pair]:
    found = _kept(subject, FINE, since)
    fresh = Fresh.objects.filter(host_id=subject.host_id, at__gt=since)
    for moment, packed in fresh.values_list("at", "packed"):
        point = entry(bytes(packed), subject.key)
        if point is not None:
            found[moment] = (point, point)
    return found


def _kept(subject: Subject, step: int, since: int) -> dict[int, Pair]:
    found: dict[int, Pair] = {}
    for start, packed in subject.stretches(step, since):
        found.update(pairs_of(packed, step, start))
    return found


def _with(kept: dict[int, Pair], computed: Mapping[int, Pair]) -> dict[int, Pair]:
    """What was kept counts: of the same time less may be there to compute it from."""
    return {**computed, **kept}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def times(span: Range, points: Iterable[int], *, now: float | None = None) -> range:
    """Every time at which a range has a place, so that a gap is a gap."""
    at = int(time.time() if now is None else now)
    newest = max(points, default=at - at % span.step)
    return range(newest - span.seconds + span.step, newest + span.step, span.step)
