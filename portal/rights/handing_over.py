"""Giving a machine another home: a person's, who has to take it, or a team's. Its shares and offers end with that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import Kind
from portal.audit.actions import Action
from portal.audit.services import of_machine, record
from portal.backups.models import Backup
from portal.machines.asking import change, changeable
from portal.machines.homes import may_have_machines, refuse_taken_name
from portal.machines.models import Machine
from portal.machines.selectors import machine_level
from portal.machines.services import clean_name
from portal.notices import services as notices
from portal.quotas.hold import hold_received
from portal.refusal import Refused
from portal.rights.audience import audience_of
from portal.rights.levels import Level
from portal.rights.models import Offer, Share
from portal.rights.sharing import locked, tell
from portal.teams.models import Team
from workers.contract.spec import Power

log = structlog.get_logger()


def offer_make(*, machine: Machine, to: User, by: User) -> Offer:
    """Offer it to a person, whose it is as soon as they take it; an earlier offer is withdrawn. Raises Refused."""
    with transaction.atomic():
        row = _resting(machine)
        if row.team_id is None and row.owner_id == to.pk:
            raise Refused(_("It is their own machine already. Nothing was changed."), "username")
        if to.only_reads:
            raise Refused(_("An auditor has no machines. Nothing was changed."), "username")
        before = Offer.objects.filter(machine=row).values_list("to", flat=True).first()
        Offer.objects.filter(machine=row).delete()
        offer = Offer.objects.create(machine=row, to=to, by=by)
        tell(row.pk, {to.pk} | ({before} if before is not None else set()))
        record(Action.OFFERED, by=by, about=of_machine(row), details={"to": to.get_username()})
        notices.tell([to], "offered", link="/machines/", who=by.get_username(), machine=row.name)
    log.info("machine offered", machine=str(row.pk), to=to.pk, by=by.pk)
    return offer


def offer_withdraw(*, machine: Machine, by: User) -> None:
    """Offer it no more. Raises Refused where it was taken or declined meanwhile."""
    with transaction.atomic():
        offer = Offer.objects.filter(machine=machine).first()
        if offer is None:
            raise Refused(_("It is not offered to anybody any more."))
        offer.delete()
        tell(machine.pk, {offer.to_id})
        record(Action.OFFER_WITHDRAWN, by=by, about=of_machine(machine))
    log.info("offer withdrawn", machine=str(machine.pk), by=by.pk)


def offer_decline(*, offer: Offer, by: User) -> None:
    """The person does not want it; it stays whose it was."""
    with transaction.atomic():
        Offer.objects.filter(pk=offer.pk).delete()
        tell(offer.machine_id, {by.pk})
        record(Action.OFFER_DECLINED, by=by, about=of_machine(offer.machine))
    log.info("offer declined", machine=str(offer.machine_id), by=by.pk)


def offer_take(*, offer: Offer, name: str, by: User) -> Machine:
    """The machine is this person's now, under a name that is free there. Raises Refused."""
    with _same_moment(), transaction.atomic():
        row = _resting(offer.machine)
        mine = Offer.objects.filter(pk=offer.pk, to=by, machine=row)
        given_by = mine.select_related("by").first()
        if given_by is None or not mine.delete()[0]:
            raise Refused(_("The offer was withdrawn. Nothing was changed."))
        if (machine_level(given_by.by, row.pk) or Level.SEE) < Level.OWN:
            raise Refused(
                _("Who offered it has lost the right to. Nothing was changed: ask for a new offer.")
            )
        wanted = clean_name(name)
        refuse_taken_name(wanted, owner=by, team=None, but=row)
        _settle(row, owner=by, team=None, name=wanted, by=by)
    return row


def move_home(*, machine: Machine, team: Team | None, by: User) -> Machine:
    """Make it a team's, in which the person may have machines, or their own again (None). Raises Refused."""
    with _same_moment(), transaction.atomic():
        row = _resting(machine)
        if team is not None:
            if not (by.is_administrator or may_have_machines(by, team)):
                raise Refused(_("You may not have machines in that team. Nothing was changed."), "team")
            if row.team_id == team.pk:
                raise Refused(_("It is that team's already. Nothing was changed."), "team")
            refuse_taken_name(row.name, owner=row.owner, team=team)
            _settle(row, owner=row.owner, team=team, name=row.name, by=by)
        else:
            if row.team_id is None and row.owner_id == by.pk:
                raise Refused(_("It is yours already. Nothing was changed."), "team")
            refuse_taken_name(row.name, owner=by, team=None)
            _settle(row, owner=by, team=None, name=row.name, by=by)
    return row


def _settle(row: Machine, *, owner: User, team: Team | None, name: str, by: User) -> None:
    had_it = audience_of(row.pk).everybody()
    Share.objects.filter(machine=row).delete()
    Offer.objects.filter(machine=row).delete()
    if name != row.name:
        change(
            changeable(row), Kind.CHANGE, by, name=name, owner=owner, team=team
        )  # the host writes its name too
    else:
        Machine.objects.filter(pk=row.pk).update(owner=owner, team=team)
    row.refresh_from_db()
    hold_received(row, by)
    Backup.objects.filter(machine=row).update(owner=owner, team=team)
    has_it = audience_of(row.pk).everybody()
    tell(row.pk, had_it | has_it)
    record(Action.HANDED_OVER, by=by, about=of_machine(row), details={"to": str(team or owner)})
    people = User.objects.filter(pk__in=(had_it | has_it) - {by.pk})
    notices.tell(
        people, "handed_over", link=f"/machines/{row.pk}/", machine=row.name, whose=str(team or owner)
    )
    log.info(
        "machine handed over", machine=str(row.pk), owner=owner.pk, team=team.pk if team else None, by=by.pk
    )


def _resting(machine: Machine) -> Machine:
    row = locked(machine)
    if row.power == Power.GONE:
        raise Refused(_("The machine is being deleted."))
    return row


@contextmanager
def _same_moment() -> Iterator[None]:
    """Somebody was quicker with the name."""
    try:
        yield
    except IntegrityError as exc:
        raise Refused(
            _("Something changed at the same moment. Nothing was changed: please try again.")
        ) from exc
