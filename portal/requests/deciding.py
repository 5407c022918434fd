"""What an approver does: approve, approve less, ask back, decline.

The decision and what it makes are one transaction, so there is never an approved request without its machine. Where the
machine cannot be made, nothing is decided, and the approver is told why.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.refusal import Refused
from portal.requests.carrying_out import carry_out
from portal.requests.models import OPEN, Happened, Request, State
from portal.requests.rules import rules_now
from portal.requests.time_line import go_on
from portal.requests.wish import Less, Wish
from portal.requests.wishes import LargerQuota, can_end, kept_in


def request_approve(
    *,
    request: Request,
    by: User,
    comment: str = "",
    less: Less | None = None,
    quota: LargerQuota | None = None,
    until: date | None = None,
) -> Request:
    """Say yes: to what was asked for, or to `less` of it (to `quota` where a larger quota was asked for), or for a
    shorter time. Raises Refused.
    """
    refuse_to_decide(request, by)
    asked = kept_in(request)
    given = _given(asked, less, quota)
    shorter = _shorter(request, asked, until)
    is_less = given != asked or shorter is not None
    with transaction.atomic():
        row = go_on(
            request, states=OPEN, by=by, comment=comment,
            to=State.APPROVED_LESS if is_less else State.APPROVED,
            what=Happened.APPROVED_LESS if is_less else Happened.APPROVED,
            **_decided(by), granted=_granted(given) if given != asked else None, granted_until=shorter,
        )  # fmt: skip
        carry_out(row, given)
        return row


def request_ask_back(*, request: Request, by: User, question: str) -> None:
    """Ask the person for something before deciding. Raises Refused."""
    refuse_to_decide(request, by)
    if not question.strip():
        raise Refused(_("Write what you want to know."))
    with transaction.atomic():
        go_on(
            request, states=(State.WAITING,), to=State.ASKED_BACK, what=Happened.ASKED_BACK, by=by,
            comment=question.strip(),
        )  # fmt: skip


def request_decline(*, request: Request, by: User, comment: str) -> None:
    """Say no, and why. Raises Refused."""
    refuse_to_decide(request, by)
    if not comment.strip():
        raise Refused(_("Write why: the person reads it."))
    with transaction.atomic():
        go_on(
            request, states=OPEN, to=State.DECLINED, what=Happened.DECLINED, by=by, comment=comment.strip(),
            **_decided(by),
        )  # fmt: skip


def refuse_to_decide(request: Request, by: User) -> None:
    """Raises Refused for who is no approver, and for who has asked for it, unless the rules allow that."""
    if not by.is_approver:
        raise Refused(_("You do not decide about requests."))
    if request.asked_by_id == by.pk and not rules_now().approve_own:
        raise Refused(_("That is your own request: somebody else decides about it. Nothing was decided."))


def _given(asked: Wish, less: Less | None, quota: LargerQuota | None) -> Wish:
    if isinstance(asked, LargerQuota):
        if quota is None:
            return asked
        if not quota.wanted or any(n > asked.wanted.get(field, -1) for field, n in quota.wanted.items()):
            raise Refused(_("That is more than was asked for, or nothing. Nothing was decided."))
        return quota
    return asked.lessened(less) if less is not None else asked


def _shorter(request: Request, asked: Wish, until: date | None) -> date | None:
    """The last day, where it is an earlier one than was asked for."""
    if until is None or until == request.until:
        return None
    if not can_end(request, asked):
        raise Refused(_("That has no end. Nothing was decided."))
    if request.until is not None and until > request.until:
        raise Refused(_("That is longer than was asked for. Nothing was decided."))
    if until < timezone.now().date():
        raise Refused(_("That day has passed. Nothing was decided."))
    return until


def _granted(given: Wish) -> dict[str, Any]:
    return given.model_dump(mode="json") | ({"seed": None} if hasattr(given, "seed") else {})


def _decided(by: User) -> dict[str, Any]:
    return {"decided_by": by, "decided_at": timezone.now()}
