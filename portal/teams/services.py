"""What is done with teams. Whoever gains or loses by it, their open pages and consoles are told at once."""

from __future__ import annotations

import structlog
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.audit.actions import Action, ObjectKind
from portal.audit.services import record
from portal.live import publish
from portal.refusal import Refused
from portal.teams.models import Membership, Role, Team

log = structlog.get_logger()


def team_create(*, name: str, description: str, owner: User, by: User) -> Team:
    """A team with its first owner. Raises Refused."""
    try:
        with transaction.atomic():
            team = Team.objects.create(name=name, description=description)
            Membership.objects.create(team=team, user=owner, role=Role.OWNER)
            _tell(owner.pk)
            _note(Action.TEAM_MADE, team, by, owner)
    except IntegrityError as exc:
        raise Refused(_("There is a team of this name already. Choose another name."), "name") from exc
    log.info("team made", team=team.pk, by=by.pk)
    return team


def team_change(*, team: Team, name: str, description: str, by: User) -> None:
    """Another name or description. Raises Refused."""
    try:
        with transaction.atomic():
            Team.objects.filter(pk=team.pk).update(name=name, description=description)
            _note(Action.TEAM_CHANGED, team, by, name=name)
    except IntegrityError as exc:
        raise Refused(_("There is a team of this name already. Nothing was changed."), "name") from exc
    log.info("team changed", team=team.pk, by=by.pk)


def team_delete(*, team: Team, by: User) -> None:
    """Remove it, where nothing is its any more. Raises Refused."""
    with transaction.atomic():
        row = _locked(team)
        people = list(row.memberships.values_list("user", flat=True))
        try:
            row.delete()
        except ProtectedError as exc:
            words = _(
                "The team still has machines, templates or backups. Nothing was deleted: move them or delete them first."
            )
            raise Refused(words) from exc
        _tell(*people)
        _note(Action.TEAM_DELETED, team, by)
    log.info("team deleted", team=team.pk, by=by.pk)


def member_add(*, team: Team, user: User, role: Role, by: User) -> Membership:
    """One more person. Raises Refused."""
    try:
        with transaction.atomic():
            made = Membership.objects.create(team=_locked(team), user=user, role=role)
            _tell(user.pk)
            _note(Action.TEAM_JOINED, team, by, user, role=role.value)
    except IntegrityError as exc:
        words = _("%(name)s is in the team already. Nothing was changed.")
        raise Refused(words % {"name": user.username}, "username") from exc
    log.info("team joined", team=team.pk, user=user.pk, role=role.value, by=by.pk)
    return made


def member_set_role(*, team: Team, user_id: int, role: Role, by: User) -> None:
    """Another role for somebody in it. Raises Refused."""
    with transaction.atomic():
        member = _member(_locked(team), user_id)
        if member.role == Role.OWNER and role != Role.OWNER:
            _refuse_last_owner(member)
        Membership.objects.filter(pk=member.pk).update(role=role)
        _tell(user_id)
        _note(Action.TEAM_ROLE, team, by, member.user, role=role.value)
    log.info("team role", team=team.pk, user=user_id, role=role.value, by=by.pk)


def member_remove(*, team: Team, user_id: int, by: User) -> None:
    """Somebody leaves it, or has to; the machines that they made stay the team's. Raises Refused."""
    with transaction.atomic():
        member = _member(_locked(team), user_id)
        if member.role == Role.OWNER:
            _refuse_last_owner(member)
        member.delete()
        _tell(user_id)
        _note(Action.TEAM_LEFT, team, by, member.user)
    log.info("team left", team=team.pk, user=user_id, by=by.pk)


def _locked(team: Team) -> Team:
    """Its row, so that of two that change who owns it the second one sees the first. Raises Refused."""
    row = Team.objects.select_for_update().filter(pk=team.pk).first()
    if row is None:
        raise Refused(_("The team was deleted meanwhile. Nothing was changed."))
    return row


def _member(team: Team, user_id: int) -> Membership:
    member = team.memberships.filter(user=user_id).first()
    if member is None:
        raise Refused(_("That person is not in the team any more. Nothing was changed."))
    return member


def _refuse_last_owner(member: Membership) -> None:
    if not member.team.memberships.filter(role=Role.OWNER).exclude(pk=member.pk).exists():
        raise Refused(_("A team needs an owner. Nothing was changed: make somebody else an owner first."))


def _note(action: Action, team: Team, by: User, who: User | None = None, **details: str) -> None:
    if who is not None:
        details["who"] = who.get_username()
    record(action, by=by, about=(ObjectKind.TEAM, team.pk, team.name), details=details)


def _tell(*people: int) -> None:
    transaction.on_commit(lambda: publish.rights_changed(people))
