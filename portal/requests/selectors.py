"""Reading requests, always scoped to what a person may see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import Http404

from portal.accounts.models import User
from portal.fleet.placement import Candidate
from portal.fleet.selectors import candidates
from portal.quotas.account import Account
from portal.quotas.amounts import Amounts
from portal.quotas.bars import Bar, bars_of
from portal.quotas.checking import obstacles
from portal.refusal import Refused
from portal.requests.models import OPEN, Event, Request, State
from portal.requests.wishes import FromTemplate, Kept, LargerQuota, NewMachine, kept_in, title_of
from portal.rights.levels import Level

TONES = {
    State.WAITING: "info", State.ASKED_BACK: "warning", State.APPROVED: "success", State.APPROVED_LESS: "success",
    State.DECLINED: "danger", State.WITHDRAWN: "secondary", State.EXPIRED: "secondary",
}  # fmt: skip


@dataclass(frozen=True)
class ListedRequest:
    """A row of the list. `words` is what was asked for."""

    row: Request
    title: str
    words: str
    tone: str


@dataclass(frozen=True)
class Standing:
    """What somebody has, and would have if it were approved."""

    name: str
    bars: list[Bar]


def requests_for(user: User) -> QuerySet[Request]:
    """A person's own; all of them for who decides and who audits."""
    rows = Request.objects.select_related("asked_by", "decided_by", "machine", "team")
    return rows if user.is_approver or user.is_auditor else rows.filter(asked_by=user)


def request_for(user: User, request_id: UUID) -> Request:
    """The request. Raises Http404 where the person may not see it."""
    row = requests_for(user).filter(pk=request_id).first()
    if row is None:
        raise Http404
    return row


def request_level(user: User, request_id: UUID) -> Level | None:
    """What the person may do with a request; None where they may not see it. One query."""
    asked_by = requests_for(user).filter(pk=request_id).values_list("asked_by", flat=True).first()
    if asked_by is None:
        return None
    return Level.OWN if asked_by == user.pk else Level.SEE


def own_request(user: User, request_id: UUID) -> Request:
    """A request that the person has made. Raises Http404 for another's."""
    row = Request.objects.filter(asked_by=user, pk=request_id).first()
    if row is None:
        raise Http404
    return row


def waiting_for(user: User) -> QuerySet[Request]:
    """What others wait for this approver to decide."""
    return Request.objects.filter(state=State.WAITING).exclude(asked_by=user)


def filtered(rows: QuerySet[Request], *, state: str, wanted: str, query: str) -> QuerySet[Request]:
    """Those of a state ("open" for all that can be decided), of a kind, of a person or with a word in the reason."""
    if state == "open":
        rows = rows.filter(state__in=OPEN)
    elif state in State.values:
        rows = rows.filter(state=state)
    if wanted:
        rows = rows.filter(wanted=wanted)
    if query:
        rows = rows.filter(Q(asked_by__username__icontains=query) | Q(reason__icontains=query))
    return rows


def listed(rows: Iterable[Request]) -> list[ListedRequest]:
    """As a list shows them."""
    return [_listed(row) for row in rows]


def time_line_of(row: Request) -> QuerySet[Event]:
    """What has happened, in order. One query."""
    return row.events.select_related("by")


def standings_of(row: Request, kept: Kept) -> list[Standing]:
    """What the person has and would have; and each of their teams as it is."""
    account = Account(row.asked_by_id, row.team_id)
    takes = kept.takes if row.is_open else Amounts()
    found = [Standing(str(row.team or row.asked_by), bars_of(account, takes))]
    for team in row.asked_by.teams.exclude(pk=row.team_id or 0).order_by("name")[:5]:
        found.append(Standing(team.name, bars_of(Account(row.asked_by_id, team.pk))))
    return found


def why_asked(row: Request, kept: Kept) -> list[str]:
    """What stands in the way now; it may be less than when it was asked for."""
    if isinstance(kept, LargerQuota):
        return []
    networks = [kept.network] if kept.network else []
    return obstacles(Account(row.asked_by_id, row.team_id), row.asked_by, kept.takes, networks=networks)


def room_left(kept: Kept) -> list[tuple[Candidate, bool]]:
    """The hosts with what they have left, and whether the machine would fit there now."""
    if isinstance(kept, LargerQuota):
        return [(each, True) for each in candidates()]
    return [(each, _fits(each, kept)) for each in candidates()]


def _fits(host: Candidate, kept: NewMachine | FromTemplate) -> bool:
    return host.threads >= kept.cpus and host.memory_free_mib >= kept.memory_mib


def _listed(row: Request) -> ListedRequest:
    tone = TONES[State(row.state)]
    try:
        kept = kept_in(row)
    except Refused as refusal:
        return ListedRequest(row, str(row.get_wanted_display()), refusal.message, tone)
    return ListedRequest(row, title_of(row, kept), kept.words, tone)
