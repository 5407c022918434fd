"""Who is told of a request, and the line of it in the activity; in the transaction of what it tells of."""

from __future__ import annotations

from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.audit.actions import Action, ObjectKind
from portal.audit.services import record
from portal.notices import services as notices
from portal.refusal import Refused
from portal.requests.models import Event, Happened, Request
from portal.requests.wishes import kept_in

_FOR_APPROVERS = (Happened.ASKED, Happened.ANSWERED)
_FOR_NOBODY = (Happened.WITHDRAWN,)


def told(row: Request, event: Event) -> None:
    """Note what has happened, and tell those who wait for it. Call it inside a transaction."""
    what = _title(row)
    details = {"what": what} | ({"comment": event.comment} if event.comment else {})
    record(
        Action(f"request_{event.what}"),
        by=event.by,
        about=(ObjectKind.REQUEST, row.pk, what),
        details=details,
    )
    link = f"/requests/{row.pk}/"
    if event.what in _FOR_APPROVERS:
        others = [each for each in notices.approvers() if each.pk != row.asked_by_id]
        notices.tell(others, "request_asked", link=link, who=row.asked_by.get_username(), what=what)
    elif event.what not in _FOR_NOBODY:
        notices.tell([_asker(row)], "request_decided", link=link, what=what, decision=_decision(event))


def _asker(row: Request) -> User:
    return row.asked_by


def _decision(event: Event) -> str:
    words = str(Happened(event.what).label)
    return f"{words}. “{event.comment}”" if event.comment else f"{words}."


def _title(row: Request) -> str:
    try:
        return kept_in(row).title
    except Refused:  # of another version
        return str(row.get_wanted_display()) or _("something")
