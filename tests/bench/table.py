"""One row a figure: ours, by hand, the difference, the target, whether it is met. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

NOT_MET = "NO"


@dataclass(frozen=True)
class Row:
    """A line of the table, in words; the fields are the columns."""

    figure: str
    ours: str = ""
    ours_p95: str = ""
    by_hand: str = ""
    by_hand_p95: str = ""
    difference: str = ""
    target: str = ""
    met: str = ""


def p95(seconds: Sequence[float]) -> float:
    """The value that 95 of 100 do not exceed (nearest rank: of 20 the second largest)."""
    return sorted(seconds)[math.ceil(0.95 * len(seconds)) - 1]


def against_hand(figure: str, ours: Sequence[float], by_hand: Sequence[float], *, most_ms: int) -> Row:
    """Two series in seconds; the difference of their medians may be `most_ms`."""
    difference = statistics.median(ours) - statistics.median(by_hand)
    return Row(
        figure,
        _ms(statistics.median(ours)),
        _ms(p95(ours)),
        _ms(statistics.median(by_hand)),
        _ms(p95(by_hand)),
        f"{1000 * difference:+.0f} ms",
        f"at most +{most_ms} ms",
        _met(1000 * difference <= most_ms),
    )


def times_as_long(figure: str, ours: Sequence[float], by_hand: Sequence[float], *, most: float) -> Row:
    """Two series in seconds; the median of ours may be `most` times that by hand."""
    ratio = statistics.median(ours) / statistics.median(by_hand)
    return Row(
        figure,
        _ms(statistics.median(ours)),
        by_hand=_ms(statistics.median(by_hand)),
        difference=f"{ratio:.2f} times",
        target=f"at most {most} times",
        met=_met(ratio <= most),
    )


def p95_under(figure: str, ours: Sequence[float], *, most_ms: int) -> Row:
    """A series of which 95 of 100 shall be quicker."""
    met = _met(1000 * p95(ours) < most_ms)
    return Row(
        figure, _ms(statistics.median(ours)), _ms(p95(ours)), target=f"p95 under {most_ms} ms", met=met
    )


def share_under(figure: str, percents: Sequence[float], *, most_percent: float) -> Row:
    """Shares of one processor in per cent; the median may be `most_percent`."""
    median = statistics.median(percents)
    return Row(
        figure,
        f"{median:.3f} %",
        f"{p95(percents):.3f} %",
        target=f"at most {most_percent} % of a core",
        met=_met(median <= most_percent),
    )


def alone(figure: str, ours: Sequence[float], *, most_median_ms: int | None = None) -> Row:
    """A series that has no counterpart by hand."""
    met = "" if most_median_ms is None else _met(1000 * statistics.median(ours) < most_median_ms)
    target = "" if most_median_ms is None else f"median under {most_median_ms} ms"
    return Row(figure, _ms(statistics.median(ours)), _ms(p95(ours)), target=target, met=met)


def no_slower(figure: str, now: Sequence[float], before: Sequence[float], *, noise_ms: int) -> Row:
    """A series in seconds that may not take longer than another one did; `noise_ms` is what measuring itself varies."""
    difference = 1000 * (statistics.median(now) - statistics.median(before))
    return Row(
        figure,
        _ms(statistics.median(now)),
        _ms(p95(now)),
        difference=f"{difference:+.0f} ms",
        target=f"no slower (±{noise_ms} ms)",
        met=_met(difference <= noise_ms),
    )


def as_much(figure: str, ours: Sequence[float], by_hand: Sequence[float], *, least: float) -> Row:
    """Two series in megabits a second; the median of ours shall be `least` times that by hand."""
    ratio = statistics.median(ours) / statistics.median(by_hand)
    return Row(
        figure,
        f"{statistics.median(ours):.0f} Mbit/s",
        by_hand=f"{statistics.median(by_hand):.0f} Mbit/s",
        difference=f"{ratio:.2f} times",
        target=f"at least {least} times",
        met=_met(ratio >= least),
    )


def count(figure: str, found: int, *, most: int) -> Row:
    """A number of things."""
    return Row(figure, str(found), target=f"at most {most}", met=_met(found <= most))


def drawn(rows: Sequence[Row]) -> str:
    """The table as plain text."""
    heads = [field.name.replace("_", " ") for field in fields(Row)]
    lines = [heads, *([str(cell) for cell in astuple(row)] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    lines.insert(1, ["-" * width for width in widths])
    text = (
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
    return "\n".join(line.rstrip() for line in text)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"


def _met(yes: bool) -> str:
    return "yes" if yes else NOT_MET
