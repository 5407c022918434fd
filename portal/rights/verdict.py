"""May this person come here? The table's row, asked of the one who comes and of the thing that is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from portal.accounts.models import User
from portal.accounts.selectors import person_level
from portal.backups.selectors import backup_level
from portal.classes.selectors import class_level, may_make_classes
from portal.images.selectors import image_level, upload_level
from portal.machines.selectors import machine_level
from portal.machines.template_selectors import template_level
from portal.notices.selectors import notice_level
from portal.requests.selectors import request_level
from portal.rights.levels import Level
from portal.rights.offers import offer_level
from portal.rights.table import Of, Right, Who
from portal.teams.selectors import team_level

_FINDERS: dict[Of, Callable[[User, Any], Level | None]] = {
    Of.MACHINE: machine_level,
    Of.BACKUP: backup_level,
    Of.TEMPLATE: template_level,
    Of.IMAGE: image_level,
    Of.UPLOAD: upload_level,
    Of.TEAM: team_level,
    Of.OFFER: offer_level,
    Of.REQUEST: request_level,
    Of.PERSON: person_level,
    Of.NOTICE: notice_level,
    Of.CLASS: class_level,
}


class Verdict(Enum):
    """How somebody is received."""

    WELCOME = "welcome"
    SIGN_IN = "has to say first who they are"
    HIDDEN = "there is nothing here for them"
    TOO_LITTLE = "they see it, and may not do this"
    NOT_FOR_THAT = "the address is not for reading, or not for changing"


def verdict(
    user: User | AnonymousUser, right: Right, named: Mapping[str, object], *, changes: bool
) -> Verdict:
    """What the row says. `named`: the parts of the address. At most one query."""
    needed = right.changes if changes else right.reads
    if needed in (Who.ANYBODY, Who.HOST):
        return Verdict.WELCOME
    if not isinstance(user, User):
        return Verdict.SIGN_IN
    if right.of is not None:
        level = level_of_named(user, right.of, named)
        if level is None:
            return Verdict.HIDDEN
        if needed is None:
            return Verdict.NOT_FOR_THAT
        return Verdict.WELCOME if isinstance(needed, Level) and level >= needed else Verdict.TOO_LITTLE
    if needed is None:
        other = right.reads if changes else right.changes
        return Verdict.NOT_FOR_THAT if _holds(user, other, changes=not changes) else _turned_away(user)
    return Verdict.WELCOME if _holds(user, needed, changes=changes) else _turned_away(user)


def level_of_named(user: User, of: Of, named: Mapping[str, object]) -> Level | None:
    """The person's level of the thing that an address names; None where they may not see it. One query."""
    return _FINDERS[of](user, named[of.value])


def why(user: User, right: Right, *, changes: bool) -> str | Promise:
    """A sentence for whoever sees a thing and may not do what they tried."""
    if user.only_reads:
        return _("Your account reads everything and changes nothing. Ask an administrator.")
    needed = right.changes if changes else right.reads
    words = _WORDS.get(needed) if isinstance(needed, Level) else None
    return words or _("Ask an administrator.")


_WORDS = {
    Level.VIEW_CONSOLE: _("You may not look at the machine's screen. Ask the one whose machine it is."),
    Level.USE_CONSOLE: _(
        "You may look at the machine's screen, not use it. Ask the one whose machine it is."
    ),
    Level.OPERATE: _(
        "You may look, not operate it. Ask the one whose it is to share it with you for operating."
    ),
    Level.MANAGE: _(
        "You may use it, not change what it is. Ask the one whose it is to share it with you for managing."
    ),
    Level.OWN: _("Only the one whose it is may do that, an owner of its team, or an administrator."),
}


def _holds(user: User, who: object, *, changes: bool) -> bool:
    """One who only reads may read what any of the site's roles reads."""
    match who:
        case Who.ANYBODY | Who.HOST | Who.SIGNED_IN:
            return True
        case Who.DOER:
            return not user.only_reads
        case Who.TEACHER:
            return may_make_classes(user)
        case Who.APPROVER:
            return not changes if user.only_reads else user.is_approver
        case Who.AUDITOR:
            return user.is_auditor
        case Who.ADMINISTRATOR:
            return user.is_administrator
        case _:
            return False


def _turned_away(user: User) -> Verdict:
    """Whoever reads everything knows that it is there."""
    return Verdict.TOO_LITTLE if user.only_reads else Verdict.HIDDEN
