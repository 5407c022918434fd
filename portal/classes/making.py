"""Making a class: all of its machines' rows in one transaction, or none. The hosts then carry them out one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import structlog
from django.db import transaction
from django.urls import reverse
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.audit.actions import Action, ObjectKind
from portal.audit.services import record
from portal.classes.lists import Wanted
from portal.classes.models import Class, Member
from portal.classes.selectors import teams_owned_by
from portal.machines.cloning import hardware_of, machine_from_template
from portal.machines.models import Machine, Template
from portal.machines.services import clean_name
from portal.networks.models import Network
from portal.notices.services import tell
from portal.quotas.hold import approved
from portal.refusal import Refused
from portal.requests.rules import rules_now
from portal.rights.levels import Level
from portal.rights.sharing import share_set
from portal.teams.models import Team

log = structlog.get_logger()


def class_make(
    *,
    name: str,
    template: Template,
    team: Team | None,
    network: Network | None,
    wanted: Sequence[Wanted],
    start: bool,
    by: User,
    only_try: bool = False,
) -> Class:
    """A machine of the template for each of the people. Raises Refused, and nothing was made then.

    `start`: each runs as soon as it is made.
    `only_try`: find out whether it can be, and make nothing. A team's class is the team's, and counts for it; else each
    machine is its person's, shared with who makes it. Where that person decides about requests, it counts as approved.
    """
    name = clean_name(name)
    if len(name) > 40:
        raise Refused(_("A class's name has at most 40 characters."), "name")
    _refuse_others(team, by)
    with transaction.atomic():
        row = Class.objects.create(
            name=name, template=template, template_name=template.name, team=team, made_by=by
        )
        hardware = hardware_of(template)
        with approved() if is_approved(by) else nullcontext():
            # In one order, so that two who make classes never wait for each other's quotas.
            for each in sorted(wanted, key=lambda each: each.person.pk):
                with _named(each):
                    operation = machine_from_template(
                        template=template, owner=each.person, name=each.machine, cpus=hardware.cpus,
                        memory_mib=hardware.memory_mib, network=network, by=by, team=team, start=start,
                    )  # fmt: skip
                Member.objects.create(
                    in_class=row, person=each.person, person_name=each.person.username,
                    machine_id=operation.machine_id, machine_name=operation.machine_name, operation=operation,
                )  # fmt: skip
                if not only_try:
                    _hand_out(row, each, by)
        if only_try:
            transaction.set_rollback(True)
            return row
        record(
            Action.CLASS_MADE,
            by=by,
            about=of_class(row),
            details={"machines": len(wanted), "template": template.name, "team": team.name if team else ""},
        )
    log.info("class made", class_id=str(row.pk), machines=len(wanted), by=by.pk)
    return row


def is_approved(by: User) -> bool:
    """What they make needs nobody's approval."""
    return by.is_administrator or (by.is_approver and rules_now().approve_own)


def of_class(row: Class) -> tuple[ObjectKind, object, str]:
    """A class, for a line of the activity."""
    return (ObjectKind.ROW, row.pk, row.name)


def _refuse_others(team: Team | None, by: User) -> None:
    if team is None and not by.is_administrator:
        raise Refused(_("Choose the team for which the class is. Nothing was made."), "team")
    if team is not None and not teams_owned_by(by).filter(pk=team.pk).exists():
        raise Refused(_("Only an owner of the team makes a class for it. Nothing was made."), "team")


def _hand_out(row: Class, each: Wanted, by: User) -> None:
    machine = Machine.objects.get(owner=each.person, team=row.team, name=each.machine)
    if row.team is None and each.person != by:
        share_set(machine=machine, to=by, level=Level.MANAGE, by=by)
    if each.person != by:
        tell(
            [each.person], "class_machine", link=reverse("machines:detail", args=[machine.pk]),
            who=by.get_username(), machine=machine.name, **{"class": row.name},
        )  # fmt: skip


@contextmanager
def _named(each: Wanted) -> Iterator[None]:
    """A refusal says for whom."""
    try:
        yield
    except Refused as refusal:
        words = _("For %(who)s, machine “%(name)s”: %(why)s No machine was made for anybody.")
        said = {"who": each.person.username, "name": each.machine, "why": refusal.message}
        raise Refused(words % said, "people") from refusal
