"""Writing figures down: a host's message in one row, and from time to time what is older as stretches of each machine.

A message of any number of machines costs one small insert. All else is done by a periodic task, a minute, an hour and a day
at a time, each in one transaction: what is killed in between is done again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import TypeVar

import structlog
from django.db import IntegrityError, transaction

from portal.figures.models import Fresh, HostStretch, MachineStretch
from portal.figures.packing import (
    FINE,
    HOST_KEY,
    KEPT,
    MINUTES,
    QUARTERS,
    SPANS,
    coarser,
    entries,
    joined,
    machine_key,
    pack_samples,
    packed_pairs,
    pairs_of,
)
from portal.fleet.models import Host
from portal.machines.models import Machine
from workers.contract.figures import Samples

LATEST_SECONDS = 25
"""A message that is older has missed its place: its minute may be rolled up."""

_EARLIEST_SECONDS = 10
_CLOSED_SECONDS = 30
"""A minute is rolled up when it has been over for so long: everything that may still be taken has come."""

_SETTLED_SECONDS = 120
_FINER = {MINUTES: FINE, QUARTERS: MINUTES}
S = TypeVar("S")
log = structlog.get_logger()


def samples_take(samples: Samples, *, now: float | None = None) -> bool:
    """Keep a host's message; False where it is late, double, of a clock that is wrong, or of a host that nobody knows."""
    age = (time.time() if now is None else now) - samples.at
    if not -_EARLIEST_SECONDS <= age <= LATEST_SECONDS:
        log.warning("figures dropped", host=samples.host, age_seconds=round(age))
        return False
    host_id = Host.objects.filter(name=samples.host).values_list("pk", flat=True).first()
    if host_id is None:
        return False  # its first heartbeat enters it
    try:
        with transaction.atomic():
            Fresh.objects.create(
                host_id=host_id, at=samples.at - samples.at % FINE, packed=pack_samples(samples)
            )
    except IntegrityError:
        return False
    return True


def roll_up(*, now: float | None = None) -> None:
    """Make stretches of what is over, coarser ones of those that are full, and drop what is too old to be shown."""
    at = int(time.time() if now is None else now)
    for host_id in Host.objects.values_list("pk", flat=True):
        for minute in _minutes_over(host_id, at):
            _roll_minute(host_id, minute)
        for step in (MINUTES, QUARTERS):
            for start in _full(host_id, step, at):
                _roll(host_id, step, start)
    for step, seconds in KEPT.items():
        MachineStretch.objects.filter(step=step, start__lt=at - seconds).delete()
        HostStretch.objects.filter(step=step, start__lt=at - seconds).delete()


def _minutes_over(host_id: int, at: int) -> list[int]:
    over = at - _CLOSED_SECONDS - SPANS[FINE]
    moments = Fresh.objects.filter(host_id=host_id, at__lt=over + SPANS[FINE]).values_list("at", flat=True)
    minutes = {moment - moment % SPANS[FINE] for moment in moments}
    return sorted(minute for minute in minutes if minute <= over)


def _roll_minute(host_id: int, minute: int) -> None:
    with transaction.atomic():
        rows = Fresh.objects.filter(host_id=host_id, at__gte=minute, at__lt=minute + SPANS[FINE])
        points: dict[bytes, dict[int, bytes]] = {}
        for moment, packed in rows.values_list("at", "packed"):
            for key, point in entries(bytes(packed)):
                points.setdefault(key, {})[moment] = point
        # A host may say what it likes: only its own machines have figures, and only as long as they are there.
        ours = Machine.objects.filter(host_id=host_id).values_list("pk", flat=True)
        MachineStretch.objects.bulk_create(
            [
                MachineStretch(
                    machine_id=machine_id,
                    step=FINE,
                    start=minute,
                    packed=joined(points[machine_key(machine_id)], minute),
                )
                for machine_id in ours
                if machine_key(machine_id) in points
            ],
            ignore_conflicts=True,
        )
        whole = HostStretch(
            host_id=host_id, step=FINE, start=minute, packed=joined(points.get(HOST_KEY, {}), minute)
        )
        HostStretch.objects.bulk_create([whole], ignore_conflicts=True)
        rows.delete()


def _full(host_id: int, step: int, at: int) -> list[int]:
    """The starts of stretches that can be made: everything finer is there, and they are not yet."""
    span = SPANS[step]
    finer = HostStretch.objects.filter(host_id=host_id, step=_FINER[step]).values_list("start", flat=True)
    made = HostStretch.objects.filter(host_id=host_id, step=step).values_list("start", flat=True)
    starts = {start - start % span for start in finer} - set(made)
    return sorted(start for start in starts if start + span + _SETTLED_SECONDS <= at)


def _roll(host_id: int, step: int, start: int) -> None:
    """Compute first, then write all at once: nobody waits for the arithmetic of hundreds of machines."""
    times = {"step": _FINER[step], "start__gte": start, "start__lt": start + SPANS[step]}
    rows = MachineStretch.objects.filter(machine__host_id=host_id, **times).order_by("machine_id")
    machines = [
        MachineStretch(machine_id=machine_id, step=step, start=start, packed=packed)
        for machine_id, packed in _coarser(
            step, start, rows.values_list("machine_id", "start", "packed").iterator()
        )
    ]
    own = HostStretch.objects.filter(host_id=host_id, **times).values_list("host_id", "start", "packed")
    whole = [
        HostStretch(host_id=host_id, step=step, start=start, packed=packed)
        for _, packed in _coarser(step, start, own)
    ]
    with transaction.atomic():
        there = set(Machine.objects.filter(host_id=host_id).values_list("pk", flat=True))
        MachineStretch.objects.bulk_create(
            [each for each in machines if each.machine_id in there], ignore_conflicts=True
        )
        HostStretch.objects.bulk_create(whole, ignore_conflicts=True)


def _coarser(
    step: int, start: int, rows: Iterable[tuple[S, int, bytes | memoryview]]
) -> Iterator[tuple[S, bytes]]:
    for subject, group in groupby(rows, key=itemgetter(0)):
        pairs = {}
        for _, finer_start, packed in group:
            pairs.update(pairs_of(bytes(packed), _FINER[step], finer_start))
        yield subject, packed_pairs(coarser(pairs, step), step, start)
