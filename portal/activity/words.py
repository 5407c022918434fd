"""Operations as pages show them: steps with labels, errors in sentences. Pure: rows in, words out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from portal.activity.errors import ErrorWords, words_for
from portal.activity.models import Operation
from workers.contract.messages import ASK_SECONDS, OperationState, Step, StepState

STEP_LABELS: dict[Step, str | Promise] = {
    Step.FETCH_DISC: _("Disc fetched from the library"),
    Step.FETCH_IMAGE: _("Disk image fetched from the library and checked"),
    Step.MAKE_DISKS: _("Disk made"),
    Step.CONVERT_DISKS: _("Disk converted"),
    Step.RESIZE_DISKS: _("Disk made larger"),
    Step.MAKE_SEED: _("First settings written"),
    Step.PREPARE_NETWORK: _("Network ready"),
    Step.LAUNCH: _("Started"),
    Step.WAKE: _("Woken"),
    Step.CHANGE_DISC: _("Disc changed"),
    Step.CHANGE_DEVICES: _("Disks and cards changed"),
    Step.CHANGE_MEMORY: _("Memory changed"),
    Step.CHANGE_NETWORK: _("Network changed"),
    Step.CHANGE_LIMITS: _("Limits changed"),
    Step.MAKE_BRIDGE: _("Bridge made"),
    Step.REMOVE_BRIDGE: _("Bridge removed"),
    Step.CHANGE_BOOT: _("Where it starts from set"),
    Step.PAUSE: _("Paused"),
    Step.RESUME: _("Resumed"),
    Step.SAVE: _("Memory saved"),
    Step.DISCARD_SAVED: _("Saved memory thrown away"),
    Step.ASK_GUEST: _("Asked to shut down"),
    Step.STOP: _("Stopped"),
    Step.REMOVE: _("Removed"),
    Step.RESET: _("Reset"),
    Step.TAKE_SNAPSHOT: _("Snapshot taken"),
    Step.REVERT_TO_SNAPSHOT: _("Back at the snapshot"),
    Step.DELETE_SNAPSHOT: _("Snapshot deleted"),
    Step.FREEZE_DISKS: _("Disks frozen"),
    Step.TAKE_BACKUP: _("Backup written"),
    Step.VERIFY_BACKUP: _("Backup verified"),
    Step.DELETE_BACKUP: _("Backup deleted"),
    Step.EXPORT_MACHINE: _("Export written"),
    Step.SEND_EXPORT: _("Export sent to the site"),
    Step.SET_PASSWORD: _("Password set"),
    Step.CHECK_IMAGE: _("Disk image checked"),
    Step.FORGET_BASE: _("Template's disk removed"),
}
STATE_LABELS: dict[OperationState, str | Promise] = {
    OperationState.QUEUED: _("Waiting for the host"),
    OperationState.RUNNING: _("In progress"),
    OperationState.DONE: _("Done"),
    OperationState.FAILED: _("Failed"),
    OperationState.SUPERSEDED: _("Overtaken by a newer request"),
}


@dataclass(frozen=True)
class ShownStep:
    """A step as a line with its mark."""

    label: str | Promise
    state: str
    percent: int


@dataclass(frozen=True)
class ShownError:
    """An error in words, with the technical detail behind a click."""

    sentence: str | Promise
    advice: str | Promise
    detail: str


@dataclass(frozen=True)
class ShownOperation:
    """An operation as a page draws it."""

    id: str
    kind: str
    label: str
    state: str
    state_label: str | Promise
    is_open: bool
    steps: tuple[ShownStep, ...]
    error: ShownError | None
    created_at: datetime
    finished_at: datetime | None
    requested_by: str
    is_overdue: bool
    """The host has said nothing of it yet although it is alive."""


def shown(operation: Operation, *, requested_by: str = "", is_cancelled: bool = False) -> ShownOperation:
    """An operation in words; makes no query when `requested_by` was fetched with it."""
    state = OperationState(operation.state)
    words: ErrorWords | None = words_for(operation.error_code) if operation.error_code else None
    return ShownOperation(
        id=str(operation.id),
        kind=operation.kind,
        label=operation.get_kind_display(),
        state=state.value,
        state_label=_("Cancelled") if is_cancelled and not operation.is_open else STATE_LABELS[state],
        is_open=operation.is_open,
        steps=tuple(_step(raw) for raw in operation.steps),
        error=ShownError(words.sentence, words.advice, operation.error_detail) if words else None,
        created_at=operation.created_at,
        finished_at=operation.finished_at,
        requested_by=requested_by
        or (operation.requested_by.get_username() if operation.requested_by else ""),
        is_overdue=operation.is_open and operation.sent_at is None,
    )


def seconds_left(operation: Operation) -> int | None:
    """How long a guest still has to shut down; None where none is being asked."""
    for raw in operation.steps:
        if raw["step"] == Step.ASK_GUEST and raw["state"] == StepState.RUNNING:
            return max(0, int(ASK_SECONDS * (100 - int(raw.get("percent", 0))) / 100))
    return None


def _step(raw: dict[str, object]) -> ShownStep:
    try:
        label: str | Promise = STEP_LABELS[Step(str(raw["step"]))]
    except ValueError:
        label = str(raw["step"])
    return ShownStep(label=label, state=str(raw["state"]), percent=int(str(raw.get("percent", 0))))
