"""What is done once with a machine, beside making it match its spec: a message carries at most one of these.

An act is carried out once for its operation, after the spec it came with. A worker that is killed in it begins it
again, so each of them, done twice, ends in the same place. A newer wish ends it early: that is how it is cancelled.
"""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from workers.contract.disks import PlaceName
from workers.contract.version import Message

AccountName = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$|^Administrator$")]


class Reset(Message):
    """Press the machine's reset button: what is in its memory is lost."""

    kind: Literal["reset"] = "reset"


class Resume(Message):
    """Let a machine go on that stands still for a fault: its disk failed or was full, its system crashed."""

    kind: Literal["resume"] = "resume"


class TakeSnapshot(Message):
    """Keep the machine's disks (all at the same instant), firmware settings and, where it runs and `memory`, its memory."""

    kind: Literal["take_snapshot"] = "take_snapshot"
    snapshot_id: UUID
    memory: bool = False


class RevertToSnapshot(Message):
    """Make the machine what it was when the snapshot was taken. It comes with the spec of that time.

    `memory`: the snapshot has it, and the machine goes on from there.
    """

    kind: Literal["revert_to_snapshot"] = "revert_to_snapshot"
    snapshot_id: UUID
    memory: bool = False


class DeleteSnapshot(Message):
    """Forget a snapshot and give its room back."""

    kind: Literal["delete_snapshot"] = "delete_snapshot"
    snapshot_id: UUID


class FrozenDisk(Message):
    """The content of a disk becomes a base under this id; the disk goes on above it."""

    disk_id: UUID
    base_id: UUID


class FreezeDisks(Message):
    """Make bases of a machine's disks, in no time: for linked clones and templates. The machine has to be off."""

    kind: Literal["freeze_disks"] = "freeze_disks"
    disks: tuple[FrozenDisk, ...] = Field(min_length=1, max_length=16)


class TakeBackup(Message):
    """Write the machine's disks to a backup folder; with `previous` only what has changed since that backup."""

    kind: Literal["take_backup"] = "take_backup"
    place: PlaceName
    backup_id: UUID
    previous: UUID | None = None


class ExportMachine(Message):
    """Write the machine as a file that other virtualizers read, and hand it to the portal."""

    kind: Literal["export_machine"] = "export_machine"
    export_id: UUID
    format: Literal["qcow2", "ova"]


class SetPassword(Message):
    """Have the guest agent set an account's password, given as a crypt(5) hash."""

    kind: Literal["set_password"] = "set_password"
    account: AccountName
    password_hash: str = Field(min_length=1, max_length=512, pattern=r"^\$[0-9a-zA-Z./$,=-]+$")


Act = Annotated[
    Reset
    | Resume
    | TakeSnapshot
    | RevertToSnapshot
    | DeleteSnapshot
    | FreezeDisks
    | TakeBackup
    | ExportMachine
    | SetPassword,
    Field(discriminator="kind"),
]
