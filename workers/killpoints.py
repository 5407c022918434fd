"""Places at which a test kills the worker: OFFSHOOT_DIE_AT names one, and there the process ends by SIGKILL.

In an installation the variable is not set, and a place costs one comparison.
"""

from __future__ import annotations

import os
import signal

KILL_POINTS = (
    "accepted",
    "fetch_disc begins",
    "fetch_disc done",
    "make_disks begins",
    "disk drafted",
    "make_disks done",
    "seed drafted",
    "prepare_network begins",
    "bridge made",
    "rules set",
    "prepare_network done",
    "launch begins",
    "taps opened",
    "launch noted",
    "qemu spawned",
    "launch done",
    "before handled",
    "handled",
)
"""Those on the way of a new machine."""

IMAGE_KILL_POINTS = ("image fetched", "image drafted", "image converted", "image in place")
"""Those on the way of a disk image to a disk."""

UPLINK_POINTS = ("change of a bridge noted", "card in its bridge", "bridge changed", "bridge confirmed")
"""Those on the way of a bridge around a card of the host."""

SAVING_POINTS = ("stands still", "memory drafted", "memory written", "memory noted")
WAKING_POINTS = ("qemu spawned", "qemu waits for its memory", "memory read", "memory set aside")

_die_at = os.environ.get("OFFSHOOT_DIE_AT", "")


def reached(point: str) -> None:
    """The worker is here."""
    if point == _die_at:
        os.kill(os.getpid(), signal.SIGKILL)
