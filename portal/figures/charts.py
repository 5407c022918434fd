"""Charts: which figures stand together, in which unit, and what is said of them in words. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from portal.figures.packing import FIELDS, Pair, known

Words = str | Promise
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


@dataclass(frozen=True)
class Line:
    """A figure by its field; one that is not drawn is told in words only."""

    field: str
    label: Words
    is_drawn: bool = True


@dataclass(frozen=True)
class Chart:
    """`unit`: percent, bytes, bytes_per_second, per_second or number."""

    name: str
    title: Words
    unit: str
    lines: tuple[Line, ...]


_DISK = Chart(
    "disk", _("Disk"), "bytes_per_second",
    (Line("disk_read_bytes", _("read")), Line("disk_write_bytes", _("written"))),
)  # fmt: skip
_OPERATIONS = Chart(
    "operations", _("Disk operations"), "per_second",
    (Line("disk_reads", _("reads")), Line("disk_writes", _("writes"))),
)  # fmt: skip
_NETWORK = Chart(
    "network", _("Network"), "bytes_per_second",
    (Line("net_in_bytes", _("received")), Line("net_out_bytes", _("sent"))),
)  # fmt: skip
_PACKETS = Chart(
    "packets", _("Network packets"), "per_second",
    (Line("net_in_packets", _("received")), Line("net_out_packets", _("sent"))),
)  # fmt: skip
OF_A_MACHINE = (
    Chart(
        "cpu", _("Processors"), "percent",
        (Line("cpu_own_percent", _("of its processors")), Line("cpu_percent", _("of one core"), is_drawn=False)),
    ),
    Chart(
        "memory", _("Memory"), "bytes",
        (Line("memory_bytes", _("taken of its host")), Line("extra", _("used by its programs"))),
    ),
    _DISK, _OPERATIONS, _NETWORK, _PACKETS,
)  # fmt: skip
OF_A_HOST = (
    Chart("cpu", _("Processors"), "percent", (Line("cpu_own_percent", _("of all")),)),
    Chart("load", _("Load"), "number", (Line("extra", _("processes that run or wait")),)),
    Chart("memory", _("Memory"), "bytes", (Line("memory_bytes", _("taken")),)),
    _DISK, _OPERATIONS, _NETWORK, _PACKETS,
)  # fmt: skip


def described(charts: Sequence[Chart], pairs: Mapping[int, Pair]) -> list[dict[str, Any]]:
    """Each chart with its lines and, for each, what it is now, on average and at most, in words."""
    newest = pairs[max(pairs)] if pairs else None
    return [
        {
            "name": chart.name,
            "title": chart.title,
            "unit": chart.unit,
            "lines": [
                {
                    "field": line.field,
                    "label": line.label,
                    "is_drawn": line.is_drawn,
                    **_told(chart.unit, FIELDS.index(line.field), pairs, newest),
                }
                for line in chart.lines
            ],
        }
        for chart in charts
    ]


def columns(charts: Sequence[Chart], pairs: Mapping[int, Pair], times: Sequence[int]) -> dict[str, Any]:
    """For drawing: the times, and of each drawn figure the averages and the peaks; null where nothing is known."""
    fields = [line.field for chart in charts for line in chart.lines if line.is_drawn]
    found: dict[str, Any] = {"times": list(times), "average": {}, "peak": {}}
    for field in fields:
        place = FIELDS.index(field)
        for part, kind in enumerate(("average", "peak")):
            found[kind][field] = [_number(pairs[at][part][place]) if at in pairs else None for at in times]
    return found


def words(value: float | None, unit: str) -> str:
    """A figure as people read it."""
    if value is None:
        return "–"
    if unit in ("bytes", "bytes_per_second"):
        return _bytes(value) + ("/s" if unit == "bytes_per_second" else "")
    if unit == "percent":
        return f"{_short(value)} %"
    return f"{_short(value)}/s" if unit == "per_second" else _short(value, decimals=2)


def _told(unit: str, place: int, pairs: Mapping[int, Pair], newest: Pair | None) -> dict[str, str]:
    averages = known(average[place] for average, _ in pairs.values())
    peaks = known(peak[place] for _, peak in pairs.values())
    now = None if newest is None or math.isnan(newest[0][place]) else newest[0][place]
    return {
        "now": words(now, unit),
        "average": words(sum(averages) / len(averages) if averages else None, unit),
        "peak": words(max(peaks, default=None), unit),
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 1 if value < 1000 else 0)


def _bytes(value: float) -> str:
    """In steps of 1024, as memory and disks are told of everywhere here."""
    for unit in _UNITS[:-1]:
        if value < 1000:
            return f"{_short(value)} {unit}"
        value /= 1024
    return f"{_short(value)} {_UNITS[-1]}"


def _short(value: float, *, decimals: int = 1) -> str:
    return number_format(round(value, decimals) if value < 100 and value % 1 >= 0.05 else round(value))
