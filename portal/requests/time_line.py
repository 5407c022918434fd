"""How a request goes from one state to the next: one conditional update, a moment in its time line, and who is told."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.live import publish
from portal.refusal import Refused
from portal.requests.models import OPEN, Event, Happened, Request, State
from portal.requests.telling import told
from portal.requests.wishes import without_secrets


def go_on(
    row: Request,
    *,
    states: tuple[State, ...],
    to: State,
    what: Happened,
    by: User | None,
    comment: str = "",
    **changes: Any,
) -> Request:
    """From one of these states to another, in the caller's transaction. Raises Refused where somebody was quicker."""
    if to not in OPEN:
        changes["wish"] = without_secrets(row.wish)
    waiting = Request.objects.filter(pk=row.pk, state__in=states)
    if to is not State.EXPIRED:
        waiting = waiting.filter(expires_at__gt=timezone.now())
    if not waiting.update(state=to, **changes):
        now = Request.objects.get(pk=row.pk)
        if now.is_open and now.state in states:
            raise Refused(_("The request has expired. Nothing was changed."))
        words = _("Somebody was quicker: the request is “%(state)s” now. Nothing was changed.")
        raise Refused(words % {"state": now.get_state_display()})
    happened(row, what, by, comment)
    return Request.objects.get(pk=row.pk)


def happened(row: Request, what: Happened, by: User | None, comment: str = "") -> None:
    """Write it into the time line and tell whom it concerns; who looks at its page sees it after the commit."""
    told(row, Event.objects.create(request=row, what=what, by=by, comment=comment))
    transaction.on_commit(lambda: publish.requests_changed(row.asked_by_id))
