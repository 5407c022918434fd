"""What an approver does: approve, approve less, ask back, decline.

The decision and what it makes are one transaction, so there is never an approved request without its machine. Where the
machine cannot be made, nothing is decided, and the approver is told why.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import Operation
from portal.leases.services import lease_grant
from portal.machines import cloning, services
from portal.machines.homes import may_have_machines
from portal.quotas.account import Account
from portal.quotas.hold import approved
from portal.quotas.limits import limits_of
from portal.quotas.services import quota_set
from portal.refusal import Refused
from portal.requests.models import OPEN, Happened, Request, State
from portal.requests.rules import rules_now
from portal.requests.time_line import go_on
from portal.requests.wishes import FromTemplate, Kept, LargerQuota, Less, kept_in, lessened
from portal.teams.models import Team


def request_approve(
    *,
    request: Request,
    by: User,
    comment: str = "",
    less: Less | None = None,
    quota: LargerQuota | None = None,
) -> Request:
    """Say yes: to what was asked for, or to `less` of it (to `quota` where a larger quota was asked for). Raises Refused."""
    refuse_to_decide(request, by)
    asked = kept_in(request)
    given = _given(asked, less, quota)
    is_less = given != asked
    with transaction.atomic():
        row = go_on(
            request, states=OPEN, by=by, comment=comment,
            to=State.APPROVED_LESS if is_less else State.APPROVED,
            what=Happened.APPROVED_LESS if is_less else Happened.APPROVED,
            **_decided(by), granted=_granted(given) if is_less else None,
        )  # fmt: skip
        _carry_out(row, given)
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


def _given(asked: Kept, less: Less | None, quota: LargerQuota | None) -> Kept:
    if isinstance(asked, LargerQuota):
        if quota is None:
            return asked
        if not quota.wanted or any(n > asked.wanted.get(field, -1) for field, n in quota.wanted.items()):
            raise Refused(_("That is more than was asked for, or nothing. Nothing was decided."))
        return quota
    return lessened(asked, less) if less is not None else asked


def _carry_out(row: Request, given: Kept) -> None:
    """Make what was approved. Raises Refused where that cannot be done now."""
    owner = row.asked_by
    if not owner.is_active:
        raise Refused(_("The person's account is switched off. Decline the request."))
    if isinstance(given, LargerQuota):
        account = Account(owner.pk)
        account.lock()
        quota_set(of=owner, limits=given.beside(limits_of(account, granted=False)))
        return
    with approved():
        operation = _make(owner, given, row.team)
    if row.until is not None and operation.machine is not None and row.decided_by is not None:
        lease_grant(machine=operation.machine, until=row.until, by=row.decided_by)
    Request.objects.filter(pk=row.pk).update(machine=operation.machine_id)


def _make(owner: User, given: Kept, team: Team | None) -> Operation:
    if team is not None and not may_have_machines(owner, team):
        raise Refused(_("The person may not have machines in that team any more. Decline the request."))
    if isinstance(given, FromTemplate):
        template, network = given.again(owner)
        return cloning.machine_from_template(
            template=template, owner=owner, name=given.name, cpus=given.cpus, memory_mib=given.memory_mib,
            network=network, by=owner, team=team,
        )  # fmt: skip
    if isinstance(given, LargerQuota):
        raise TypeError("a quota is no machine")
    return services.machine_create(owner=owner, requested_by=owner, wish=given.again(), team=team)


def _granted(given: Kept) -> dict[str, Any]:
    return given.model_dump(mode="json") | ({"seed": None} if hasattr(given, "seed") else {})


def _decided(by: User) -> dict[str, Any]:
    return {"decided_by": by, "decided_at": timezone.now()}
