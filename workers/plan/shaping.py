"""Bandwidth on paper: the token bucket of a limit, and the name of the device in which a machine's packets wait.

Sources: tc-tbf(8), and net/sched/sch_tbf.c of the kernel: a packet that is larger than the burst is cut or dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

_LEAST_BURST_BYTES = 16 * 1024
"""Some frames of 1500 bytes: with less, hardly anything would get through."""

_LEAST_QUEUE_BYTES = 32 * 1024
_BURSTS_A_SECOND, _QUEUES_A_SECOND = 100, 20


@dataclass(frozen=True)
class Bucket:
    """Bytes: how many a second, how many at once, how many wait (the rest is dropped, which slows TCP down)."""

    rate: int
    burst: int
    queue: int


def bucket(mbit: int) -> Bucket:
    """A limit in megabits a second, Ethernet's headers included; a tenth of a second at most is waited, or 32 KiB."""
    rate = mbit * 1_000_000 // 8
    burst = max(_LEAST_BURST_BYTES, rate // _BURSTS_A_SECOND)
    return Bucket(rate, burst, burst + max(_LEAST_QUEUE_BYTES, rate // _QUEUES_A_SECOND))


def waiting_name(tap: str) -> str:
    """The device (ifb) through which goes what a machine sends, while that is limited."""
    return f"{tap}-out"
