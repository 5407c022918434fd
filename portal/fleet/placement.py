"""Choosing a host for a new machine. Pure: the fleet in, a choice out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """A host that is alive. Memory is what is free and not promised to a machine."""

    host_id: int
    name: str
    threads: int
    memory_free_mib: int
    disk_free_mib: int


@dataclass(frozen=True)
class Needs:
    """What a machine takes at once: a growing disk takes nearly nothing, a fixed one all of its size."""

    cpus: int
    memory_mib: int
    disk_mib: int


@dataclass(frozen=True)
class NoRoom:
    """No host has it; what is short, and the most that any host has of it (MiB or threads)."""

    short_of: str
    most: int


def place(candidates: Sequence[Candidate], needs: Needs) -> Candidate | NoRoom | None:
    """The host with the most free memory that has what is needed; None where there is no host at all."""
    if not candidates:
        return None
    fitting = [
        candidate
        for candidate in candidates
        if candidate.threads >= needs.cpus
        and candidate.memory_free_mib >= needs.memory_mib
        and candidate.disk_free_mib >= needs.disk_mib
    ]
    if fitting:
        return max(fitting, key=lambda candidate: (candidate.memory_free_mib, candidate.name))
    threads = max(candidate.threads for candidate in candidates)
    if threads < needs.cpus:
        return NoRoom("cpus", threads)
    memory = max(candidate.memory_free_mib for candidate in candidates)
    if memory < needs.memory_mib:
        return NoRoom("memory", memory)
    return NoRoom("disk", max(candidate.disk_free_mib for candidate in candidates))
