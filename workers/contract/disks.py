"""A machine's disks as they are wanted, and where the first content of one comes from."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from workers.contract.version import Message

MIB = 1024 * 1024
GIB = 1024 * MIB
MOST_IOPS = 10_000_000
MOST_MIB_PER_SECOND = 1_000_000

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
PlaceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]
"""The name of a pool or of a backup folder; where it lies only the host knows."""


class DiskKind(StrEnum):
    """`growing` is qcow2 and takes what is written; `fixed` is raw with all of its room reserved at once."""

    GROWING = "growing"
    FIXED = "fixed"


class DiskBus(StrEnum):
    """The controller a guest sees: paravirtual, or emulated for guests without a driver."""

    VIRTIO = "virtio"
    SATA = "sata"


class DiscSpec(Message):
    """A file of the portal's library, as it is there; the host fetches it by this id and checks its sum."""

    image_id: UUID
    size_bytes: int = Field(gt=0, le=1024 * GIB)
    sha256: Sha256


class BaseOrigin(Message):
    """The disk begins as a frozen disk of this host (a template's, or a cloned machine's) and shares its content."""

    kind: Literal["base"] = "base"
    base_id: UUID


class CopyOrigin(Message):
    """The disk begins as a whole copy of another machine's disk, which has to be off."""

    kind: Literal["copy"] = "copy"
    machine_id: UUID
    disk_id: UUID


class ImageOrigin(Message):
    """The disk begins as a disk image of the library: checked, converted once a host, then shared."""

    kind: Literal["image"] = "image"
    image: DiscSpec


class BackupOrigin(Message):
    """The disk begins as a machine's disk was when a backup was taken."""

    kind: Literal["backup"] = "backup"
    place: PlaceName
    machine_id: UUID
    backup_id: UUID
    disk_id: UUID


Origin = Annotated[BaseOrigin | CopyOrigin | ImageOrigin | BackupOrigin, Field(discriminator="kind")]


class DiskSpec(Message):
    """One disk of a machine. `slot` is where it is plugged in and never changes, so that a guest finds it again.

    `pool` is the host's folder in which it lies (None: beside the machine). `origin` is what it begins as, None for an
    empty one; it matters only when the disk is made. `iops` and `mib_per_second` limit reads and writes together
    (None: no limit).
    """

    id: UUID
    size_bytes: int = Field(ge=MIB, le=64 * 1024 * GIB, multiple_of=MIB)
    kind: DiskKind
    bus: DiskBus = DiskBus.VIRTIO
    slot: int = Field(default=0, ge=0, le=15)
    pool: PlaceName | None = None
    origin: Origin | None = None
    iops: int | None = Field(default=None, ge=1, le=MOST_IOPS)
    mib_per_second: int | None = Field(default=None, ge=1, le=MOST_MIB_PER_SECOND)
