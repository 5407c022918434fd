"""What a machine is, in one word with a colour, and what can be done with it now. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from portal.activity.models import Kind
from workers.contract.messages import EndReason, Observed, OperationState, PauseReason
from workers.contract.spec import Power

Words = str | Promise


@dataclass(frozen=True)
class Status:
    """`state` is for programs, `label` and `detail` for people, `tone` the colour.

    `known` is the state apart from the host's silence: what was last heard.
    """

    state: str
    label: Words
    tone: str
    detail: Words = ""
    known: str = ""


@dataclass(frozen=True)
class Seen:
    """What status is drawn from; kinds and states of the newest operation are empty where there is none."""

    wanted: str
    observed: str
    end_reason: str
    newest_kind: str
    newest_state: str
    host_is_silent: bool
    host: str
    paused_for: str = ""


_OPEN = (OperationState.QUEUED, OperationState.RUNNING)
_WHILE_OPEN: dict[str, tuple[str, Words]] = {
    Kind.CREATE: ("creating", _("Being made")),
    Kind.START: ("starting", _("Starting")),
    Kind.RESTART: ("starting", _("Restarting")),
    Kind.SHUT_DOWN: ("stopping", _("Shutting down")),
    Kind.FORCE_OFF: ("stopping", _("Being cut off")),
    Kind.DELETE: ("deleting", _("Being deleted")),
    Kind.PAUSE: ("stopping", _("Being paused")),
    Kind.RESUME: ("starting", _("Going on")),
    Kind.SAVE: ("saving", _("Hibernating")),
    Kind.WAKE: ("starting", _("Waking")),
    Kind.RESET: ("starting", _("Being reset")),
    Kind.RENEW: ("creating", _("Being made anew")),
}
_STANDS_STILL: dict[str, Status] = {
    PauseReason.PERSON: Status(
        "paused",
        _("Paused"),
        "warning",
        _("It stands still; what it has in memory is kept as it is. Press Resume to let it go on."),
        "paused",
    ),
    PauseReason.NO_SPACE: Status(
        "halted",
        _("Host's disk is full"),
        "danger",
        _(
            "Its host's disk is full, so the machine was stopped before anything was lost. It goes on by itself when there is "
            "room again; or make room, then press Resume."
        ),
        "halted",
    ),
    PauseReason.IO_ERROR: Status(
        "halted",
        _("Its disk failed"),
        "danger",
        _(
            "Its disk could not be read or written, so the machine was stopped before its system noticed: what it has in memory "
            "is kept. An administrator has to look at the host's disk; then press Resume."
        ),
        "halted",
    ),
    PauseReason.PANIC: Status(
        "panicked",
        _("Its system crashed"),
        "danger",
        _(
            "Its own system crashed (kernel panic) and was stopped. The screen shows its last words. "
            "Reset starts it again; what it had not saved is lost."
        ),
        "panicked",
    ),
}
"""By why it stands still."""
_ENDS: dict[str, Words] = {
    EndReason.GUEST: _("Its own system shut it down."),
    EndReason.CRASH: _("It ended unexpectedly. What it had not saved is lost; its disk is as it was then."),
    EndReason.HOST: _("Its host was restarted."),
    EndReason.UNSEEN: _("It ended while its host's worker was away."),
}


def status_of(seen: Seen) -> Status:
    """The status, a silent host taken into account."""
    known = _known(seen)
    if seen.host_is_silent:
        return Status(
            "unknown",
            _("Host not reachable"),
            "warning",
            _(
                "Its host has not been heard of. This is what was known last: the machine may well be running."
            ),
            known.state,
        )
    return known


def _known(seen: Seen) -> Status:
    is_open = seen.newest_state in _OPEN
    if is_open and seen.newest_kind in _WHILE_OPEN:
        state, label = _WHILE_OPEN[seen.newest_kind]
        return Status(state, label, "info", known=state)
    if seen.wanted == Power.GONE and seen.newest_state != OperationState.FAILED:
        return Status("deleting", _("Being deleted"), "info", known="deleting")
    if seen.wanted == Power.GONE:
        return Status(
            "failed", _("Not deleted"), "danger", _("Deleting it failed. Delete it again to go on."), "failed"
        )
    if seen.observed == Observed.RUNNING:
        return Status("running", _("Running"), "success", known="running")
    if seen.observed == Observed.PAUSED:
        return _STANDS_STILL.get(seen.paused_for, _STANDS_STILL[PauseReason.PERSON])
    if seen.observed == Observed.SAVED:
        return Status(
            "saved",
            _("Hibernated"),
            "secondary",
            _(
                "Its memory is saved on its host, where it takes none now. Wake it, and it goes on where it stood."
            ),
            "saved",
        )
    if seen.newest_kind == Kind.CREATE and seen.newest_state == OperationState.FAILED:
        return Status(
            "failed",
            _("Not made"),
            "danger",
            _("Making it failed. Start tries again, Delete removes it."),
            "failed",
        )
    if seen.observed == Observed.OFF:
        tone = "danger" if seen.end_reason == EndReason.CRASH else "secondary"
        label = _("Crashed") if seen.end_reason == EndReason.CRASH else _("Off")
        return Status("off", label, tone, _ENDS.get(seen.end_reason, ""), "off")
    return Status("creating", _("Being made"), "info", known="creating")


_STILL = ("paused", "halted", "panicked")


def possible(status: Status, *, has_disc: bool, wanted: str) -> dict[str, bool]:
    """What can be done with a machine in this state."""
    known = status.known
    return {
        "start": known in ("off", "failed") and wanted != Power.GONE,
        "shut_down": known == "running",
        "restart": known == "running",
        "force_off": known in ("running", "starting", "stopping", "saving", *_STILL),
        "pause": known == "running",
        "resume": known in ("paused", "halted"),
        "reset": known in ("running", "halted", "panicked"),
        "hibernate": known in ("running", "paused"),
        "wake": known == "saved",
        "finish_installation": has_disc and known in ("running", "off"),
        "insert_disc": known in ("running", "off"),
        "delete": known != "deleting",
        "console": known in ("running", "stopping", *_STILL),
    }
