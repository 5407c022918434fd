"""What a backup is made of: its manifest, its names, and which earlier one it can stand on. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID, uuid5

from pydantic import Field, StringConstraints

from workers.contract.disks import DiskKind, PlaceName, Sha256
from workers.contract.spec import MachineSpec
from workers.contract.version import Message

MANIFEST = "manifest.json"
BITMAP_PREFIX = "offshoot-backup"
VARIABLES_SLOT = 99
"""Stands where a disk has its slot for what a UEFI remembers; no disk has it."""

FileName = Annotated[str, StringConstraints(pattern=r"^[0-9a-f-]{36}(\.[0-9a-f]{8})?\.qcow2$")]


def variables_id(machine_id: UUID) -> UUID:
    """Stands where a disk has its id for what a machine's UEFI remembers."""
    return uuid5(machine_id, "variables")


class StoredDisk(Message):
    """One disk in a backup: the whole of it, or (`incremental`) what had changed since the backup before. Sizes in bytes."""

    id: UUID
    slot: int
    size_bytes: int = Field(gt=0)
    kind: DiskKind
    file: FileName
    stored_bytes: int = Field(ge=0)
    sha256: Sha256
    incremental: bool


class Manifest(Message):
    """A backup, whole: a folder in which this lies is one, any other is not.

    `previous` is the backup that the incremental disks stand on; `still` says that the machine was off, or that its
    agent held its filesystems still. `variables` is what its UEFI remembers, None for a BIOS.
    """

    backup_id: UUID
    machine_id: UUID
    previous: UUID | None
    taken_at: str
    still: bool
    spec: MachineSpec
    disks: tuple[StoredDisk, ...]
    variables: StoredDisk | None = None

    @property
    def files(self) -> tuple[StoredDisk, ...]:
        """All that lies beside the manifest."""
        return (*self.disks, *((self.variables,) if self.variables else ()))

    @property
    def stored_bytes(self) -> int:
        """What it takes in its folder."""
        return sum(file.stored_bytes for file in self.files)

    @property
    def is_incremental(self) -> bool:
        """Some of it lies in the backup before."""
        return any(disk.incremental for disk in self.disks)


def bitmap_name(place: PlaceName, backup_id: UUID) -> str:
    """The record, in the disk itself, of what has changed since a backup. One that has this name says what it is for."""
    return f"{_bitmaps_of(place)}{backup_id}"


def bitmaps_to_drop(there: Sequence[str], place: PlaceName, keep: UUID | None) -> list[str]:
    """The records of this place that nothing needs any more."""
    kept = bitmap_name(place, keep) if keep else ""
    return [name for name in there if name.startswith(_bitmaps_of(place)) and name != kept]


def can_stand_on(
    disk_id: UUID, size_bytes: int, bitmap: Mapping[str, Any] | None, before: Manifest | None
) -> bool:
    """A disk can be kept by what has changed: it is in the backup before, of the same size, and the record is sound."""
    if before is None or bitmap is None or bitmap.get("inconsistent") or not bitmap.get("recording"):
        return False
    return any(disk.id == disk_id and disk.size_bytes == size_bytes for disk in before.disks)


def _bitmaps_of(place: PlaceName) -> str:
    return f"{BITMAP_PREFIX}.{place}."
