"""The quota held where anything is asked of a host: called by machines/asking.py inside every change's transaction.

What a machine took is noted when its row is locked, and compared with what it takes when the change is recorded. Only what
has grown is looked at, so a quota that was lowered stops nobody from switching off, shrinking or deleting. The account's row
is locked, always after machines, hosts and networks, and then everything is counted: the change of this transaction too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date

from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import Kind
from portal.flavours.selectors import flavours_offered, is_to_be_asked_for
from portal.machines.models import Machine
from portal.quotas.account import Account, account_of
from portal.quotas.amounts import Amounts, Field, Limits, said
from portal.quotas.limits import limits_of
from portal.quotas.models import Grant
from portal.quotas.usage import Share, share_of, used_by
from portal.refusal import Refused
from portal.teams.models import Team
from workers.contract.spec import MachineSpec

_approved: ContextVar[Approval | None] = ContextVar("approved", default=None)
_AT = {Field.CPUS: "cpus", Field.MEMORY_MIB: "memory_gib", Field.DISK_BYTES: "disk_gib"}
"""The fields of forms at which it is said."""


@dataclass(frozen=True)
class Over:
    """A limit that would be passed: what there would be, and what may be."""

    field: Field
    would_be: int
    limit: int

    @property
    def words(self) -> str:
        """“11 machines, and the quota is 10 machines”."""
        words = _("That would be %(would_be)s; the quota is %(limit)s.")
        return words % {"would_be": said(self.field, self.would_be), "limit": said(self.field, self.limit)}


@dataclass(frozen=True)
class Approval:
    """Somebody has said yes; `until`: what goes over the quota counts to the end of that day only."""

    until: date | None


class ToBeAskedFor(Refused):
    """It is not to be had at once; somebody may approve it."""


@contextmanager
def approved(*, until: date | None = None) -> Iterator[None]:
    """Whatever is asked for in here was approved: what goes over a quota is noted as granted to its machine."""
    token = _approved.set(Approval(until))
    try:
        yield
    finally:
        _approved.reset(token)


def hold(machine: Machine, kind: Kind, by: User | None, before: Share | None, spec: MachineSpec) -> None:
    """Raises ToBeAskedFor where the change takes more than there is.

    `before`: what the machine took when its row was locked; None for a new one, and for what takes nothing.
    `spec`: what its host is asked for, which its rows follow only later where it goes back to a snapshot.
    """
    if before is None and kind != Kind.CREATE:
        return
    before = before or Share()
    to_come = _to_come(machine, spec)
    after = share_of(machine.pk).and_then(to_come)
    if not (_approved.get() or (by is not None and by.is_administrator)):
        _refuse_unapproved(before, after)
    grown = after.amounts.more_than(before.amounts)
    account = account_of(machine)
    if not grown or limits_of(account).are_none:
        return
    account.lock()
    limits = limits_of(account)
    used = used_by(account).plus(to_come)
    over = over_in(used, limits, grown)
    if not over:
        return
    if (approval := _approved.get()) is not None:
        more = {each.field: each.would_be - each.limit for each in over}
        Grant.objects.create(machine=machine, ends_on=approval.until, **more)
        return
    raise ToBeAskedFor(_words(account, by, used, before, after, over[0]), _AT.get(over[0].field))


def hold_received(machine: Machine, by: User | None) -> None:
    """Raises Refused where the home that the machine has in this transaction has no room for it in its quota."""
    account, takes = account_of(machine), share_of(machine.pk)
    if limits_of(account).are_none:
        return
    account.lock()
    used = used_by(account)
    over = over_in(used, limits_of(account), takes.amounts.more_than(Amounts()))
    if over:
        raise Refused(_words(account, by, used, Share(), takes, over[0]))


def over_in(amounts: Amounts, limits: Limits, fields: Sequence[Field] = tuple(Field)) -> list[Over]:
    """The limits that these amounts pass."""
    pairs = ((each, amounts.of(each), limits.of(each)) for each in fields)
    return [
        Over(field, amount, limit) for field, amount, limit in pairs if limit is not None and amount > limit
    ]


def _to_come(machine: Machine, spec: MachineSpec) -> Amounts:
    """By how much the machine will be larger than its row says now."""
    memory_mib = spec.memory_most_mib or spec.memory_mib
    its_mib = machine.memory_most_mib or machine.memory_mib
    return Amounts(cpus=max(0, spec.cpus - machine.cpus), memory_mib=max(0, memory_mib - its_mib))


def _refuse_unapproved(before: Share, after: Share) -> None:
    if after.cards_to_ask_for > before.cards_to_ask_for:
        words = _("That network needs an approval. Nothing was changed: ask for it.")
        raise ToBeAskedFor(words, "network")
    if after.cpus <= before.cpus and after.memory_mib <= before.memory_mib:
        return
    if is_to_be_asked_for(flavours_offered(), cpus=after.cpus, memory_mib=after.memory_mib):
        words = _(
            "A machine of that size needs an approval. Nothing was changed: ask for it, or choose a smaller size."
        )
        raise ToBeAskedFor(words, "size")


def _words(account: Account, by: User | None, used: Amounts, before: Share, after: Share, over: Over) -> str:
    """Which quota, what is there, what was asked, what is left, what to do."""
    there = used.of(over.field) - after.amounts.of(over.field) + before.amounts.of(over.field)
    asked = after.amounts.of(over.field) - before.amounts.of(over.field)
    numbers = {
        "limit": said(over.field, over.limit),
        "there": said(over.field, there),
        "asked": said(over.field, asked),
        "left": said(over.field, max(0, over.limit - there)),
        "whose": _whose(account),
    }
    if account.team_id is None and by is not None and by.pk == account.user_id:
        words = _(
            "Your quota is %(limit)s. You have %(there)s, so %(left)s are left, and this takes %(asked)s. "
            "Nothing was changed: delete what is no longer needed, or ask for more under “Requests”."
        )
    else:
        words = _(
            "The quota of %(whose)s is %(limit)s. There are %(there)s, so %(left)s are left, and this takes %(asked)s. "
            "Nothing was changed: what is no longer needed can be deleted, and more can be asked for under “Requests”."
        )
    return words % numbers


def _whose(account: Account) -> str:
    if account.team_id is not None:
        return _("the team “%(name)s”") % {
            "name": Team.objects.values_list("name", flat=True).get(pk=account.team_id)
        }
    return str(User.objects.values_list("username", flat=True).get(pk=account.user_id))
