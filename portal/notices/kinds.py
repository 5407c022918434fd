"""The kinds of notices, as data: the words for the choice, the sentence, and where it goes unless a person says otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class Way(StrEnum):
    """Where a kind of notice goes."""

    NONE = "none"
    PAGE = "page"
    MAIL = "mail"
    """Into the mail, and onto the page too."""


@dataclass(frozen=True)
class NoticeKind:
    """`sentence` has the values of `tell` in it; `default` is the way where nobody chose."""

    key: str
    label: str | Promise
    sentence: str | Promise
    icon: str
    default: Way = Way.PAGE
    only_administrators: bool = False
    is_always_told: bool = False
    """On the page whatever a person chose."""


_ALL = (
    NoticeKind(
        "machine_ended",
        _("A machine ended by itself"),
        _("“%(machine)s” ended by itself: its system shut it down."),
        "power",
    ),
    NoticeKind(
        "machine_crashed",
        _("A machine crashed"),
        _("“%(machine)s” ended unexpectedly. What it had not saved is lost; its disk is as it was then."),
        "exclamation-octagon",
        Way.MAIL,
    ),
    NoticeKind(
        "machine_panicked",
        _("A machine's system crashed"),
        _(
            "The system of “%(machine)s” crashed (kernel panic) and was stopped. "
            "Its screen shows its last words; Reset starts it again."
        ),
        "exclamation-octagon",
        Way.MAIL,
    ),
    NoticeKind(
        "disk_failed",
        _("A machine's disk failed"),
        _(
            "The disk of “%(machine)s” could not be read or written, so the machine was stopped; its memory is kept."
        ),
        "device-hdd",
        Way.MAIL,
    ),
    NoticeKind(
        "host_disk_full",
        _("A host's disk is full"),
        _(
            "The disk of the host %(host)s is full, so “%(machine)s” was stopped before anything was lost. "
            "It goes on when there is room."
        ),
        "device-hdd",
        Way.MAIL,
    ),
    NoticeKind(
        "operation_failed",
        _("Something you or your team asked for failed"),
        _("%(what)s of “%(machine)s” failed. %(why)s"),
        "x-circle",
    ),
    NoticeKind(
        "backup_failed",
        _("A backup failed"),
        _("The backup of “%(machine)s” failed. %(why)s"),
        "archive",
        Way.MAIL,
    ),
    NoticeKind(
        "download_done",
        _("A download into the library is done"),
        _("“%(name)s” is in the library."),
        "cloud-download",
    ),
    NoticeKind(
        "download_failed",
        _("A download into the library failed"),
        _("“%(name)s” did not get into the library. %(why)s"),
        "cloud-slash",
    ),
    NoticeKind(
        "request_asked",
        _("Somebody asks for more (approvers)"),
        _("%(who)s asks for %(what)s."),
        "question-circle",
        Way.MAIL,
    ),
    NoticeKind(
        "request_decided",
        _("What you asked for was decided"),
        _("Your request for %(what)s: %(decision)s"),
        "check2-square",
        Way.MAIL,
    ),
    NoticeKind(
        "lease_ends",
        _("A machine's time runs out"),
        _("The time of “%(machine)s” ends %(when)s. %(then)s"),
        "hourglass-split",
        Way.MAIL,
    ),
    NoticeKind(
        "lease_over",
        _("A machine's time is over"),
        _(
            "The time of “%(machine)s” is over, so it is shut down. On %(day)s it is deleted with all that is on its "
            "disks, unless it is extended on its page before."
        ),
        "hourglass-bottom",
        Way.MAIL,
    ),
    NoticeKind(
        "lease_deleted",
        _("A machine was deleted after its time"),
        _("“%(machine)s” was deleted: its time was over, and nobody extended it."),
        "trash",
        Way.MAIL,
    ),
    NoticeKind(
        "quota_ends",
        _("A larger quota ends soon"),
        _(
            "The last day of %(what)s is %(day)s. All that is there stays; nothing more is to be had above the quota then."
        ),
        "hourglass-split",
    ),
    NoticeKind(
        "quota_over",
        _("A larger quota is over"),
        _(
            "The time of %(what)s is over, its last day was %(day)s. All that is there stays; nothing more is to be had "
            "above the quota."
        ),
        "hourglass-bottom",
        Way.MAIL,
    ),
    NoticeKind(
        "machine_idle",
        _("A machine does nothing"),
        _("“%(machine)s” has done nothing for %(since)s."),
        "moon",
    ),
    NoticeKind(
        "shared",
        _("Something is shared with you"),
        _("%(who)s shares “%(machine)s” with you: %(what)s."),
        "share",
    ),
    NoticeKind(
        "class_machine",
        _("A machine was made for you in a class"),
        _("%(who)s has made the machine “%(machine)s” for you, in the class “%(class)s”."),
        "mortarboard",
    ),
    NoticeKind(
        "offered",
        _("A machine is offered to you"),
        _("%(who)s wants to hand “%(machine)s” over to you. Take it or decline it in your list of machines."),
        "gift",
        Way.MAIL,
    ),
    NoticeKind(
        "handed_over",
        _("A machine belongs to somebody else"),
        _("“%(machine)s” belongs to %(whose)s now."),
        "arrow-left-right",
    ),
    NoticeKind(
        "impersonated",
        _("An administrator acts as you"),
        _("%(who)s began to act as you, for at most an hour. The reason given: %(reason)s"),
        "incognito",
        Way.MAIL,
        is_always_told=True,
    ),
    NoticeKind(
        "account_waits",
        _("An account waits for approval"),
        _("%(who)s has asked for an account and waits for you to say yes or no."),
        "person-plus",
        Way.MAIL,
        only_administrators=True,
    ),
    NoticeKind(
        "hook_switched_off",
        _("A web hook was switched off"),
        _(
            "The web hook “%(hook)s” failed %(times)s times in a row and was switched off. The last answer: %(why)s"
        ),
        "plug",
        Way.MAIL,
        only_administrators=True,
    ),
    NoticeKind(
        "log_broken",
        _("The activity was tampered with"),
        _("The check of the activity found lines that are gone or were changed: %(found)s"),
        "shield-exclamation",
        Way.MAIL,
        only_administrators=True,
        is_always_told=True,
    ),
)
KINDS: dict[str, NoticeKind] = {kind.key: kind for kind in _ALL}


def kinds_for(*, administrator: bool) -> list[NoticeKind]:
    """Those that somebody may get."""
    return [kind for kind in _ALL if administrator or not kind.only_administrators]
