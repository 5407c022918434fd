"""What a person does with their requests: ask, answer, withdraw. And what time does: they expire."""

from __future__ import annotations

from datetime import date, timedelta

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.backups.models import Backup
from portal.machines.homes import home_of_copy
from portal.machines.models import Machine, Template
from portal.machines.services import MachineWish, clean_name
from portal.networks.models import Network
from portal.quotas.account import Account
from portal.quotas.amounts import Amounts
from portal.quotas.amounts import Field as Counted
from portal.quotas.limits import limits_of
from portal.refusal import Refused
from portal.requests.carrying_out import backup_to_use, machine_to_change, may_ask_for
from portal.requests.models import OPEN, Happened, Request, State
from portal.requests.more import Clone, OfMachine, Restored
from portal.requests.rules import rules_now
from portal.requests.time_line import go_on, happened
from portal.requests.wish import Wish
from portal.requests.wishes import FromTemplate, LargerQuota, NewMachine, wanted_in
from portal.teams.models import Team

MOST_OPEN = 20
"""A person's requests that nobody has decided; more would bury those who decide."""


def machine_ask(
    *, by: User, wish: MachineWish, reason: str, until: date | None, team: Team | None = None
) -> Request:
    """Ask for a new machine, for oneself or for a team. Raises Refused."""
    clean_name(wish.name)
    return _ask(by, NewMachine.of(wish), reason, until, team)


def machine_from_template_ask(
    *,
    by: User,
    template: Template,
    name: str,
    takes: Amounts,
    network: Network | None,
    reason: str,
    until: date | None,
    team: Team | None = None,
) -> Request:
    """Ask for a machine from a template. Raises Refused."""
    kept = FromTemplate(
        name=clean_name(name), template=template.pk, template_name=template.name, cpus=takes.cpus,
        memory_mib=takes.memory_mib, disk_bytes=takes.disk_bytes, network=network.pk if network else None,
    )  # fmt: skip
    return _ask(by, kept, reason, until, team)


def more_ask(
    *, by: User, wish: OfMachine | Clone | Restored, reason: str, until: date | None = None
) -> Request:
    """Ask for more for a machine that is there, or for a copy of what is there.

    Raises Refused where it is not this person's to change.
    """
    if isinstance(wish, Restored):
        source: Machine | Backup = backup_to_use(wish.backup, by)
    else:
        source = machine_to_change(wish.machine, by)
    if isinstance(wish, OfMachine):
        return _ask(by, wish, reason, until if wish.can_end else None, source.team)
    _owner, team = home_of_copy(by, owner=source.owner, team=source.team)
    wish = wish.model_copy(update={"name": clean_name(wish.name)})
    return _ask(by, wish, reason, until, team)


def quota_ask(
    *, by: User, wanted: LargerQuota, reason: str, until: date | None = None, team: Team | None = None
) -> Request:
    """Ask for a larger quota, for ever or for a time; for a team as its owner, and for ever.

    Raises Refused where nothing of it is more than there is.
    """
    if team is not None and not may_ask_for(by, team):
        raise Refused(_("Only an owner of the team asks for a larger quota for it."))
    if team is not None and until is not None:
        raise Refused(_("A team's quota is raised for ever. Leave the day empty."))
    now = limits_of(Account(by.pk, team.pk if team else None), granted=False)
    more = {
        field: n for field, n in wanted.wanted.items() if (limit := now.of(field)) is not None and n > limit
    }
    if not more:
        raise Refused(_("Nothing of that is more than the quota is now. Say how much you need."))
    kept = LargerQuota.model_validate({Counted(field).value: n for field, n in more.items()})
    return _ask(by, kept, reason, until, team)


def request_withdraw(*, request: Request, by: User) -> None:
    """Not wanted any more. Raises Refused where it was decided already."""
    with transaction.atomic():
        go_on(request, states=OPEN, to=State.WITHDRAWN, what=Happened.WITHDRAWN, by=by)


def request_answer(*, request: Request, by: User, answer: str) -> None:
    """Answer what was asked back; it waits again, for as long as a new one does. Raises Refused."""
    if not answer.strip():
        raise Refused(_("Write an answer."))
    with transaction.atomic():
        go_on(
            request, states=(State.ASKED_BACK,), to=State.WAITING, what=Happened.ANSWERED, by=by,
            comment=answer.strip(), expires_at=timezone.now() + timedelta(days=rules_now().days),
        )  # fmt: skip


def requests_expire() -> int:
    """End what nobody has decided in time; how many that were."""
    over = 0
    for row in Request.objects.filter(state__in=OPEN, expires_at__lte=timezone.now()):
        try:
            with transaction.atomic():
                go_on(row, states=OPEN, to=State.EXPIRED, what=Happened.EXPIRED, by=None)
        except Refused:  # somebody withdrew it at this moment
            continue
        over += 1
    return over


def _ask(by: User, kept: Wish, reason: str, until: date | None, team: Team | None = None) -> Request:
    with transaction.atomic():
        Account(by.pk).lock()
        if Request.objects.filter(asked_by=by, state__in=OPEN).count() >= MOST_OPEN:
            words = _("%(most)d of your requests wait already. Withdraw one that is no longer needed first.")
            raise Refused(words % {"most": MOST_OPEN})
        row = Request.objects.create(
            wanted=wanted_in(kept), asked_by=by, team=team, wish=kept.model_dump(mode="json"), reason=reason, until=until,
            expires_at=timezone.now() + timedelta(days=rules_now().days),
        )  # fmt: skip
        happened(row, Happened.ASKED, by, reason)
        return row
