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
from portal.machines.homes import home_of_copy
from portal.machines.models import Machine
from portal.quotas.account import Account, account_of
from portal.quotas.amounts import Amounts
from portal.quotas.bars import Bar, bars_of
from portal.quotas.checking import obstacles
from portal.refusal import Refused
from portal.requests.models import OPEN, Event, Request, State
from portal.requests.more import Clone, OfMachine
from portal.requests.wish import Wish
from portal.requests.wishes import kept_in
from portal.rights.levels import Level
from portal.teams.models import Team

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


def standings_of(row: Request, kept: Wish) -> list[Standing]:
    """What the person has and would have; and each of their teams as it is."""
    account = account_in(row, kept)
    takes = kept.takes if row.is_open else Amounts()
    found = [Standing(_whose(account), bars_of(account, takes))]
    for team in row.asked_by.teams.exclude(pk=account.team_id or 0).order_by("name")[:5]:
        found.append(Standing(team.name, bars_of(Account(row.asked_by_id, team.pk))))
    return found


def why_asked(row: Request, kept: Wish) -> list[str]:
    """What stands in the way now; it may be less than when it was asked for."""
    return obstacles(
        account_in(row, kept), row.asked_by, kept.takes, networks=kept.networks, size=kept.size or (0, 0)
    )


def account_in(row: Request, kept: Wish) -> Account:
    """Against whose quota it would count: that of the machine that it is about, else the team's or the person's."""
    machine = _machine_of(kept)
    if machine is None:
        return Account(row.asked_by_id, row.team_id)
    if isinstance(kept, OfMachine):
        return account_of(machine)
    owner, team = home_of_copy(row.asked_by, owner=machine.owner, team=machine.team)
    return Account(owner.pk, team.pk if team else None)


def room_left(kept: Wish) -> list[tuple[Candidate, bool]]:
    """The hosts that it can be on with what they have left, and whether it would fit there now."""
    machine = _machine_of(kept)
    hosts = [each for each in candidates() if machine is None or each.host_id == machine.host_id]
    return [(each, _fits(each, kept)) for each in hosts]


def open_for(machine: Machine, user: User) -> list[ListedRequest]:
    """What the person has asked for, for this machine, and nobody has decided yet. One query."""
    rows = Request.objects.filter(asked_by=user, state__in=OPEN, wish__machine=str(machine.pk))
    return listed(rows.select_related("asked_by", "team"))


def _fits(host: Candidate, kept: Wish) -> bool:
    cpus, _memory = kept.size or (0, 0)
    takes = kept.takes
    memory_mib = 0 if takes.machines and not takes.running else takes.memory_mib
    return host.threads >= cpus and host.memory_free_mib >= memory_mib


def _machine_of(kept: Wish) -> Machine | None:
    if not isinstance(kept, OfMachine | Clone):
        return None
    return Machine.objects.select_related("owner", "team").filter(pk=kept.machine).first()


def _whose(account: Account) -> str:
    rows = (
        Team.objects.filter(pk=account.team_id).values_list("name", flat=True)
        if account.team_id is not None
        else User.objects.filter(pk=account.user_id).values_list("username", flat=True)
    )
    return rows.first() or ""


def _listed(row: Request) -> ListedRequest:
    tone = TONES[State(row.state)]
    try:
        kept = kept_in(row)
    except Refused as refusal:
        return ListedRequest(row, str(row.get_wanted_display()), refusal.message, tone)
    return ListedRequest(row, kept.title, kept.words, tone)
