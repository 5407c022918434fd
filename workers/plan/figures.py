"""Figures out of what kernel and qemu count: the texts of /proc read, and rates made of two readings. Pure.

Sources: proc(5), the kernel's Documentation/admin-guide/iostats.rst, qemu's qapi/block-core.json (query-blockstats) and
docs/interop/virtio-balloon-stats.rst.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from workers.contract.figures import HostTotals, MachineUsage, Usage

Counts = tuple[int, ...]
SECTOR_BYTES = 512
_UNKNOWN = 1 << 64
_LARGEST_COUNT = 1 << 63
_FRESH_SECONDS = 60
_STAT_CPU, _STAT_STARTED, _STAT_RESIDENT = slice(11, 13), 19, 21
_NOTHING_READ = (0, 0, 0, 0)


@dataclass(frozen=True)
class Counted:
    """Counters by what they belong to (a disk, a tap), all read at one moment (`at`: seconds of a clock that never jumps)."""

    at: float
    by_name: Mapping[str, Counts]


@dataclass(frozen=True)
class Reading:
    """All that was read of one machine or host. Readings of two lives (a restart lies between) have nothing in common.

    `cpu` counts nanoseconds; `disks` bytes read, bytes written, reads, writes; `links` bytes in, bytes out, packets in,
    packets out. None: not read.
    """

    life: str
    cpu: Counted
    memory_bytes: int
    disks: Counted | None
    links: Counted | None


@dataclass(frozen=True)
class ProcessStat:
    """Of /proc/<pid>/stat: when it began and what its threads took, in clock ticks; its memory in pages."""

    started: int
    cpu_ticks: int
    resident_pages: int


def rates(before: Counted | None, now: Counted | None) -> tuple[float, ...] | None:
    """What was counted a second, summed over what both know; None where that cannot be told.

    A counter that is less than it was began anew: what it says now came since then. What only one of both knows was
    plugged in or pulled in between and adds nothing.
    """
    if before is None or now is None or now.at <= before.at:
        return None
    width = len(next(iter(now.by_name.values()), _NOTHING_READ))
    totals = [0] * width
    for name, counts in now.by_name.items():
        earlier = before.by_name.get(name)
        if earlier is None:
            continue
        for place, (then, this) in enumerate(zip(earlier, counts, strict=True)):
            totals[place] += this - then if this >= then else this
    return tuple(total / (now.at - before.at) for total in totals)


def usage(before: Reading | None, now: Reading, *, cpus: int) -> Usage:
    """What was taken between two readings by something that has so many processors."""
    if before is not None and before.life != now.life:
        before = None
    cpu = rates(before.cpu if before else None, now.cpu)
    percent = cpu[0] / 1e9 * 100 if cpu else None
    disks = rates(before.disks if before else None, now.disks) or (None,) * 4
    links = rates(before.links if before else None, now.links) or (None,) * 4
    return Usage(
        cpu_percent=_short(percent),
        cpu_own_percent=_short(percent / cpus) if percent is not None else None,
        memory_bytes=float(now.memory_bytes),
        disk_read_bytes=_short(disks[0]),
        disk_write_bytes=_short(disks[1]),
        disk_reads=_short(disks[2]),
        disk_writes=_short(disks[3]),
        net_in_bytes=_short(links[0]),
        net_out_bytes=_short(links[1]),
        net_in_packets=_short(links[2]),
        net_out_packets=_short(links[3]),
    )


def machine_usage(found: Usage, **more: object) -> MachineUsage:
    """The usage as a machine's."""
    return MachineUsage.model_validate(found.model_dump() | more)


def host_totals(found: Usage, *, load: float) -> HostTotals:
    """The usage as a host's."""
    return HostTotals.model_validate(found.model_dump() | {"load": load})


def process_stat(text: str) -> ProcessStat:
    """Out of /proc/<pid>/stat. A program's own name may hold blanks and brackets: what counts comes after the last one."""
    fields = text[text.rindex(")") + 2 :].split()
    return ProcessStat(
        started=int(fields[_STAT_STARTED]),
        cpu_ticks=sum(int(ticks) for ticks in fields[_STAT_CPU]),
        resident_pages=int(fields[_STAT_RESIDENT]),
    )


def host_cpu_ticks(text: str) -> int:
    """Out of /proc/stat: what all processors worked (user, nice, system, interrupts). Guests are in `user` already."""
    fields = [int(ticks) for ticks in text[: text.index("\n")].split()[1:]]
    return sum(fields[:3]) + sum(fields[5:7])


def host_processors(text: str) -> int:
    """Out of /proc/stat: how many processors there are."""
    return max(1, sum(line.startswith("cpu") for line in text.splitlines()) - 1)


def link_counters(text: str) -> dict[str, Counts]:
    """Out of /proc/net/dev: of each interface the bytes it received and sent, and the packets."""
    found: dict[str, Counts] = {}
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        fields = rest.split()
        found[name.strip()] = (int(fields[0]), int(fields[8]), int(fields[1]), int(fields[9]))
    return found


def of_guest(counts: Counts) -> Counts:
    """A tap's counters as the guest sees them: what the tap received, the guest sent."""
    received, sent, received_packets, sent_packets = counts
    return (sent, received, sent_packets, received_packets)


def disk_counters(text: str, disks: Collection[str]) -> dict[str, Counts]:
    """Out of /proc/diskstats: of these disks the bytes read and written, and the operations."""
    found: dict[str, Counts] = {}
    for line in text.splitlines():
        fields = line.split()
        if fields[2] in disks:
            reads, read_sectors, writes, written_sectors = (int(fields[place]) for place in (3, 5, 7, 9))
            found[fields[2]] = (read_sectors * SECTOR_BYTES, written_sectors * SECTOR_BYTES, reads, writes)
    return found


def block_counters(answer: object) -> dict[str, Counts]:
    """Out of qemu's query-blockstats: of each drive the bytes read and written, and the operations.

    What is not as qemu says it is left out: the other end of the monitor may have been taken over by its guest.
    """
    found: dict[str, Counts] = {}
    for drive in answer if isinstance(answer, list) else []:
        name = drive.get("qdev") if isinstance(drive, Mapping) else None
        stats = drive.get("stats") if isinstance(drive, Mapping) else None
        if not isinstance(name, str) or not name or not isinstance(stats, Mapping):
            continue
        said = [stats.get(key) for key in ("rd_bytes", "wr_bytes", "rd_operations", "wr_operations")]
        counts = tuple(count for count in said if isinstance(count, int) and 0 <= count < _LARGEST_COUNT)
        if len(counts) == len(said):
            found[name[:200]] = counts
    return found


def guest_memory(answer: object, *, now: float) -> int | None:
    """Out of the balloon's guest-stats: the bytes that programs of the guest use; None where it has not said lately.

    `now` in Unix seconds. A guest without the driver says nothing; a guest may say anything.
    """
    if not isinstance(answer, Mapping):
        return None
    stats, updated = answer.get("stats"), answer.get("last-update")
    if not isinstance(stats, Mapping) or not isinstance(updated, int) or now - updated > _FRESH_SECONDS:
        return None
    total, available = stats.get("stat-total-memory"), stats.get("stat-available-memory")
    if not isinstance(total, int) or not isinstance(available, int):
        return None
    return total - available if 0 <= available <= total < min(_UNKNOWN - 1, _LARGEST_COUNT) else None


def machines_disks(names: Sequence[str]) -> frozenset[str]:
    """Of the names in /sys/block those of real disks: what stands on others (dm, md, loop) would be counted twice."""
    virtual = ("loop", "ram", "dm-", "md", "zram", "sr", "fd", "nbd")
    return frozenset(name for name in names if not name.startswith(virtual))


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
