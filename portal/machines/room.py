"""Whether a certain host has room for what a machine takes there: for machines that can be on no other host."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.translation import gettext as _

from portal.fleet.models import Host
from portal.fleet.placement import Candidate, Needs, NoRoom, place
from portal.fleet.selectors import candidates
from portal.refusal import Refused
from workers.contract.disks import GIB, MIB, DiskKind

_NEXT_TO_NOTHING_MIB = 64
_GOES_ON_MIB = 1024


@dataclass(frozen=True)
class WantedDisk:
    """A disk to be made: its size in bytes and the pool that it shall lie in (empty: beside the machine)."""

    size_bytes: int
    kind: DiskKind
    pool: str


def needs_room_on(host: Host, *, cpus: int, memory_mib: int, disks: Iterable[WantedDisk]) -> None:
    """Raises Refused, naming the host, where it has not what is wanted now. Locks its row, so that no room is promised twice."""
    Host.objects.select_for_update(no_key=True).get(pk=host.pk)
    disks = tuple(disks)
    for pool in sorted({disk.pool for disk in disks} - {""}):
        needs_room_in_pool(host, pool, sum(_taken_mib(disk) for disk in disks if disk.pool == pool))
    here_mib = sum(_taken_mib(disk) for disk in disks if not disk.pool)
    there = [candidate for candidate in candidates() if candidate.host_id == host.pk]
    match place(there, Needs(cpus, memory_mib, here_mib + _NEXT_TO_NOTHING_MIB)):
        case Candidate():
            return
        case NoRoom(short_of="cpus", most=most):
            words = _("It has to be on the host %(host)s, which has only %(most)d CPUs.")
            raise Refused(words % {"host": host.name, "most": most}, "size")
        case NoRoom(short_of="memory", most=most):
            words = _("It has to be on the host %(host)s, which has only %(most).1f GB of memory free now.")
            raise Refused(words % {"host": host.name, "most": most / 1024}, "size")
        case NoRoom(most=most):
            words = _("It has to be on the host %(host)s, which has only %(most)d GB of disk space free now.")
            raise Refused(words % {"host": host.name, "most": most // 1024})
        case _:
            words = _(
                "It has to be on the host %(host)s, which cannot be reached now. Try again in a minute."
            )
            raise Refused(words % {"host": host.name})


def needs_room_in_pool(host: Host, pool: str, wanted_mib: int) -> None:
    """Raises Refused where the host has no such pool, it cannot be used now, or it has not that much room."""
    found = next((each for each in host.pools if each["name"] == pool), None)
    if found is None:
        raise Refused(
            _("The host %(host)s has no pool “%(pool)s”.") % {"host": host.name, "pool": pool}, "pool"
        )
    if found["problem"]:
        words = _("The pool “%(pool)s” cannot be used now: %(problem)s")
        raise Refused(words % {"pool": pool, "problem": found["problem"]}, "pool")
    if wanted_mib and found["free_mib"] < wanted_mib + _GOES_ON_MIB:
        words = _(
            "The pool “%(pool)s” has only %(free).1f GB free, and 1 GB of it stays free. Nothing was changed."
        )
        raise Refused(words % {"pool": pool, "free": found["free_mib"] / 1024}, "pool")


def usable_pools(host: Host) -> list[dict[str, object]]:
    """The host's pools that can be used now."""
    return [pool for pool in host.pools if not pool["problem"]]


def in_gib(size_bytes: int) -> int:
    """Whole gigabytes, rounded up."""
    return -(-size_bytes // GIB)


def _taken_mib(disk: WantedDisk) -> int:
    return disk.size_bytes // MIB if disk.kind is DiskKind.FIXED else 0
