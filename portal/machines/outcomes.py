"""What the end of an operation means for the rows that it was about. Called inside the transaction that notes the end."""

from __future__ import annotations

from collections.abc import Callable

from portal.activity.models import Kind, Operation
from portal.backups.services import settle_backup, settle_delete, settle_verify
from portal.exports.services import settle_export
from portal.images.checking import settle_check
from portal.machines import snapshots
from portal.machines.freezing import settle_forget, settle_freeze
from portal.machines.moving import settle_move
from portal.machines.taking_back import settle_leaving
from portal.networks.uplinks import settle_bridge
from workers.contract.messages import Progress

Outcome = Callable[[Operation, Progress], None]
"""Takes the operation, with its machine, and the report of its end: done, failed or superseded."""

OUTCOMES: dict[Kind, Outcome] = {
    Kind.BACKUP: settle_backup,
    Kind.EXPORT: settle_export,
    Kind.VERIFY_BACKUP: settle_verify,
    Kind.DELETE_BACKUP: settle_delete,
    Kind.MOVE_DISK: settle_move,
    Kind.FREEZE: settle_freeze,
    Kind.FORGET_BASE: settle_forget,
    Kind.CHECK_IMAGE: settle_check,
    Kind.MAKE_BRIDGE: settle_bridge,
    Kind.REMOVE_BRIDGE: settle_bridge,
    Kind.TAKE_SNAPSHOT: snapshots.settle_taking,
    Kind.REVERT: snapshots.settle_reverting,
    Kind.DELETE_SNAPSHOT: snapshots.settle_deleting,
}


def settle(operation: Operation, progress: Progress) -> None:
    """Write down what came of it."""
    settle_leaving(operation, progress)
    outcome = OUTCOMES.get(Kind(operation.kind))
    if outcome is not None:
        outcome(operation, progress)
