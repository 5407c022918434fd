"""What a host is asked to do that belongs to no machine of its, and what comes out of acts and jobs."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from workers.contract.disks import DiscSpec, PlaceName, Sha256
from workers.contract.networks import InterfaceName
from workers.contract.version import Message


class CheckImage(Message):
    """Look at a disk image that a person brought: refuse it with what was found, or say what it is."""

    kind: Literal["check_image"] = "check_image"
    image: DiscSpec


class ForgetBase(Message):
    """Remove a frozen disk that no disk stands on any more."""

    kind: Literal["forget_base"] = "forget_base"
    base_id: UUID


class DeleteBackup(Message):
    """Remove a backup; the later ones that stand on it are kept whole."""

    kind: Literal["delete_backup"] = "delete_backup"
    place: PlaceName
    machine_id: UUID
    backup_id: UUID


class VerifyBackup(Message):
    """Read a backup through and compare it with the sums that were written down when it was taken."""

    kind: Literal["verify_backup"] = "verify_backup"
    place: PlaceName
    machine_id: UUID
    backup_id: UUID


class MakeBridge(Message):
    """Make a bridge around a card of the host; the card's addresses and routes move to it.

    It is taken back unless the host still reaches the broker some seconds later.
    """

    kind: Literal["make_bridge"] = "make_bridge"
    interface: InterfaceName


class RemoveBridge(Message):
    """Undo MakeBridge: addresses and routes move back to the card, in the same careful way."""

    kind: Literal["remove_bridge"] = "remove_bridge"
    bridge: InterfaceName


Job = Annotated[
    CheckImage | ForgetBase | DeleteBackup | VerifyBackup | MakeBridge | RemoveBridge,
    Field(discriminator="kind"),
]


class ImageFacts(Message):
    """A disk image was looked at: it is sound, and this is what it is. Sizes in bytes."""

    kind: Literal["image"] = "image"
    format: str
    virtual_bytes: int = Field(gt=0)
    disks: int = Field(default=1, ge=1)


class SnapshotFacts(Message):
    """A snapshot was taken; the bytes that its memory takes, 0 without."""

    kind: Literal["snapshot"] = "snapshot"
    memory_bytes: int = Field(ge=0)


class BackupFacts(Message):
    """A backup was taken or verified: the bytes it takes, and whether it holds only what had changed."""

    kind: Literal["backup"] = "backup"
    stored_bytes: int = Field(ge=0)
    incremental: bool


class ExportFacts(Message):
    """An export has arrived at the portal."""

    kind: Literal["export"] = "export"
    size_bytes: int = Field(ge=0)
    sha256: Sha256


Facts = Annotated[ImageFacts | SnapshotFacts | BackupFacts | ExportFacts, Field(discriminator="kind")]
