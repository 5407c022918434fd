"""Sharing a machine, and taking it back. Whom it concerns, their open pages and consoles are told at once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.audit.actions import Action
from portal.audit.services import of_machine, record
from portal.live import publish
from portal.machines.models import Machine
from portal.notices import services as notices
from portal.refusal import Refused
from portal.rights.audience import Audience
from portal.rights.levels import SHAREABLE, Level
from portal.rights.models import LEVEL_WORDS, Share, not_over
from portal.teams.models import Team

log = structlog.get_logger()


def shares_of(machine: Machine) -> QuerySet[Share]:
    """With whom it is shared now, the oldest first. One query."""
    return machine.shares.filter(not_over()).select_related("user", "team", "given_by").order_by("since")


def share_set(
    *, machine: Machine, to: User | Team, level: Level, by: User, ends_on: date | None = None
) -> Share:
    """Share a machine with a person or a team, or otherwise than before; to the end of a day, or until it is withdrawn.

    Raises Refused.
    """
    if level not in SHAREABLE:
        raise Refused(_("Choose what they may do with it. Nothing was shared."), "level")
    if ends_on is not None and ends_on < timezone.now().date():
        raise Refused(_("That day has passed. Nothing was shared."), "ends_on")
    with transaction.atomic():
        row = locked(machine)
        if isinstance(to, User) and row.team_id is None and row.owner_id == to.pk:
            raise Refused(_("It is their own machine already. Nothing was shared."), "username")
        if isinstance(to, Team) and row.team_id == to.pk:
            raise Refused(_("It is that team's own machine already. Nothing was shared."), "team")
        whom = {"user": to} if isinstance(to, User) else {"team": to}
        share, _made = Share.objects.update_or_create(
            machine=row, **whom, defaults={"level": level, "given_by": by, "ends_on": ends_on}
        )
        people = audience_of_share(share).everybody()
        tell(row.pk, people)
        record(
            Action.SHARED,
            by=by,
            about=of_machine(row),
            details={"with": str(to), "level": level.name.lower()}
            | ({"until": ends_on.isoformat()} if ends_on else {}),
        )
        notices.tell(
            User.objects.filter(pk__in=people - {by.pk}), "shared", link=f"/machines/{row.pk}/",
            who=by.get_username(), machine=row.name, what=_said(level, ends_on),
        )  # fmt: skip
    log.info("shared", machine=str(row.pk), level=level.name, by=by.pk, **_whom(share))
    return share


def share_withdraw(*, machine: Machine, share_id: UUID, by: User) -> None:
    """Share it no more; what they have open of it ends. Raises Refused where that was done meanwhile."""
    with transaction.atomic():
        share = machine.shares.filter(pk=share_id).first()
        if share is None:
            raise Refused(_("It is not shared with them any more. Nothing was changed."))
        people = audience_of_share(share).everybody()
        share.delete()
        tell(machine.pk, people)
        whom = str(share.team or share.user)
        record(Action.SHARE_WITHDRAWN, by=by, about=of_machine(machine), details={"with": whom})
    log.info("share withdrawn", machine=str(machine.pk), by=by.pk, **_whom(share))


def shares_end() -> int:
    """Clear away what is over by the clock, and end what is open of it; how many that were."""
    over = 0
    for share in Share.objects.exclude(not_over()).select_related("machine", "user", "team"):
        with transaction.atomic():
            if not Share.objects.filter(pk=share.pk, ends_on=share.ends_on).delete()[0]:
                continue  # shared anew, or withdrawn, at this moment
            tell(share.machine_id, audience_of_share(share).everybody())
            details = {"with": str(share.team or share.user), "until": str(share.ends_on)}
            record(Action.SHARE_WITHDRAWN, by=None, about=of_machine(share.machine), details=details)
        over += 1
    return over


def locked(machine: Machine) -> Machine:
    """Its row, for the transaction. Raises Refused where it is gone."""
    row = (
        Machine.objects.select_for_update(of=("self",))
        .select_related("owner", "team", "host")
        .filter(pk=machine.pk)
    )
    found = row.first()
    if found is None:
        raise Refused(_("The machine was deleted meanwhile. Nothing was changed."))
    return found


def audience_of_share(share: Share) -> Audience:
    """The person or the team."""
    if share.team_id is not None:
        return Audience(teams=frozenset({share.team_id}))
    return Audience(people=frozenset({share.user_id} if share.user_id is not None else ()))


def tell(machine_id: UUID, people: Iterable[int]) -> None:
    """On commit: whoever looks at it, and these people, whose lists have it or had it."""
    transaction.on_commit(lambda: publish.machine_changed(machine_id))
    transaction.on_commit(lambda: publish.rights_changed(people))


def _said(level: Level, ends_on: date | None) -> str:
    if ends_on is None:
        return str(LEVEL_WORDS[level])
    return _("%(what)s, until %(day)s") % {"what": LEVEL_WORDS[level], "day": ends_on.isoformat()}


def _whom(share: Share) -> dict[str, int | None]:
    return {"user": share.user_id, "team": share.team_id}
