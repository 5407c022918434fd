"""Which disks of a machine were made, and where each lies: one that was made is never silently made again.

The record is a file in the machine's folder; it is read and written under the machine's apply lock. Other machines'
records are only read, to see what stands on a base.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from workers.contract.disks import BaseOrigin, DiskKind, DiskSpec
from workers.host.files import read_json, write_json
from workers.plan.names import MachineFolder, StateFolder


@dataclass(frozen=True)
class Spot:
    """What a disk's file is, and the pool it lies in (None: beside the machine)."""

    kind: DiskKind
    pool: str | None

    @classmethod
    def wanted(cls, disk: DiskSpec) -> Spot:
        """Where the disk is wanted."""
        return cls(disk.kind, disk.pool)


@dataclass(frozen=True)
class MadeDisk:
    """A disk that was made. `base` is what it stands on.

    `stray` is where a file of it may lie that is not the disk: what it is being copied to, then what it was before.
    """

    spot: Spot
    base: UUID | None = None
    stray: Spot | None = None


def made_disks(folder: MachineFolder) -> dict[UUID, MadeDisk]:
    """By the disk's id; empty for a machine of an earlier version."""
    raw = read_json(folder.disks_file)
    try:
        return {UUID(disk_id): _read(each) for disk_id, each in raw.items()} if isinstance(raw, dict) else {}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def note_disk(folder: MachineFolder, disk_id: UUID, made: MadeDisk) -> None:
    """From now on it is known to lie there; after the return that survives a power cut."""
    _write(folder, made_disks(folder) | {disk_id: made})


def forget_disk(folder: MachineFolder, disk_id: UUID) -> None:
    """Its file is gone, and it is no longer one of the machine's."""
    known = made_disks(folder)
    if known.pop(disk_id, None) is not None:
        _write(folder, known)


def note_stray(folder: MachineFolder, disk_id: UUID, stray: Spot | None) -> None:
    """A file that is not the disk may lie there; None: no longer."""
    note_disk(folder, disk_id, replace(made_disks(folder)[disk_id], stray=stray))


def base_wanted(disk: DiskSpec) -> UUID | None:
    """The base that a disk is to stand on: only a growing one can stand on something."""
    if isinstance(disk.origin, BaseOrigin) and disk.kind is DiskKind.GROWING:
        return disk.origin.base_id
    return None


def note_unnoted(folder: MachineFolder, disks: Iterable[tuple[DiskSpec, Path]]) -> None:
    """Write down disks that are there and that no record knows: those of an earlier version, and of a worker that was killed."""
    known = made_disks(folder)
    for disk, path in disks:
        if disk.id not in known and path.exists():
            note_disk(folder, disk.id, MadeDisk(Spot.wanted(disk), base=base_wanted(disk)))


def disks_on(state: StateFolder, base_id: UUID) -> Iterator[tuple[UUID, UUID]]:
    """Machine and disk of every disk of this host that stands on the base."""
    for path in state.machines.glob("*/"):
        for disk_id, made in made_disks(MachineFolder(path)).items():
            if made.base == base_id:
                yield UUID(path.name), disk_id


def _write(folder: MachineFolder, known: Mapping[UUID, MadeDisk]) -> None:
    records = {str(each): asdict(one) | {"base": _text(one.base)} for each, one in known.items()}
    write_json(folder.disks_file, records)


def _read(raw: dict[str, Any]) -> MadeDisk:
    return MadeDisk(
        spot=_spot(raw["spot"]),
        base=UUID(raw["base"]) if raw.get("base") else None,
        stray=_spot(raw["stray"]) if raw.get("stray") else None,
    )


def _spot(raw: dict[str, Any]) -> Spot:
    return Spot(DiskKind(raw["kind"]), raw["pool"])


def _text(base: UUID | None) -> str | None:
    return str(base) if base else None
