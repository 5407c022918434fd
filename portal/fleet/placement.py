"""Choosing a host for a new machine. Pure: the fleet in, a choice out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from workers.contract.host import TPM_FEATURE, UEFI_FEATURE, HostFacts
from workers.contract.spec import Firmware


@dataclass(frozen=True)
class Candidate:
    """A host that is alive. Memory is what is free and not promised to a machine; `missing` is what it cannot do.

    `pools` is what is free in each of its pools (MiB), `networks` the bridged ones that it is connected to.
    """

    host_id: int
    name: str
    threads: int
    memory_free_mib: int
    disk_free_mib: int
    missing: frozenset[str] = frozenset()
    pools: Mapping[str, int] = field(default_factory=dict)
    networks: frozenset[UUID] = frozenset()
    facts: HostFacts | None = None

    def room_for(self, needs: Needs) -> int:
        """The free room (MiB) of the place that is wanted; less than nothing where the host has no such pool."""
        return self.pools.get(needs.pool, -1) if needs.pool else self.disk_free_mib


@dataclass(frozen=True)
class Needs:
    """What a machine takes at once: a growing disk takes nearly nothing, a fixed one all of its size.

    `features` is what its host must not be without (workers/contract/host.py).
    `pool` is where the disk shall lie; empty: beside the machine. `networks` are the bridged ones that it is plugged into.
    """

    cpus: int
    memory_mib: int
    disk_mib: int
    features: frozenset[str] = frozenset()
    pool: str = ""
    networks: frozenset[UUID] = frozenset()


@dataclass(frozen=True)
class NoRoom:
    """No host has it; what is short, and the most that any host has of it (MiB or threads)."""

    short_of: str
    most: int


def features_of(firmware: Firmware, *, tpm: bool) -> frozenset[str]:
    """What a machine's host has to have installed for it."""
    wanted = {UEFI_FEATURE: firmware is not Firmware.BIOS, TPM_FEATURE: tpm}
    return frozenset(feature for feature, is_wanted in wanted.items() if is_wanted)


def place(candidates: Sequence[Candidate], needs: Needs) -> Candidate | NoRoom | None:
    """The host with the most free memory that has what is needed; None where there is no host at all."""
    if not candidates:
        return None
    candidates = [candidate for candidate in candidates if not candidate.missing & needs.features]
    if not candidates:
        return NoRoom("features", 0)
    candidates = [candidate for candidate in candidates if needs.networks <= candidate.networks]
    if not candidates:
        return NoRoom("networks", 0)
    fitting = [
        candidate
        for candidate in candidates
        if candidate.threads >= needs.cpus
        and candidate.memory_free_mib >= needs.memory_mib
        and candidate.room_for(needs) >= needs.disk_mib
    ]
    if fitting:
        return max(fitting, key=lambda candidate: (candidate.memory_free_mib, candidate.name))
    threads = max(candidate.threads for candidate in candidates)
    if threads < needs.cpus:
        return NoRoom("cpus", threads)
    memory = max(candidate.memory_free_mib for candidate in candidates)
    if memory < needs.memory_mib:
        return NoRoom("memory", memory)
    return NoRoom("disk", max(candidate.room_for(needs) for candidate in candidates))
