"""Where a machine belongs: to a person alone, or to a team; and the name that it has there."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.accounts.models import User
from portal.machines.models import Machine
from portal.refusal import Refused
from portal.teams.models import Membership, Role, Team

TAKEN = gettext_lazy("You have a machine of this name already. Choose another name.")


def refuse_taken_name(name: str, *, owner: User, team: Team | None, but: Machine | None = None) -> None:
    """Raises Refused where another machine of the person, or of the team, is called so."""
    others = Machine.objects.filter(name=name)
    others = others.filter(team=team) if team is not None else others.filter(owner=owner, team=None)
    if but is not None:
        others = others.exclude(pk=but.pk)
    if not others.exists():
        return
    if team is None:
        raise Refused(str(TAKEN), "name")
    words = _("The team “%(team)s” has a machine of this name already. Choose another name.")
    raise Refused(words % {"team": team.name}, "name")


def home_of_copy(by: User, *, owner: User, team: Team | None) -> tuple[User, Team | None]:
    """Whose a clone or a restored machine is: the team's for who may have machines there, else the person's who asks.

    What an administrator copies for somebody stays theirs.
    """
    if team is not None and may_have_machines(by, team):
        return by, team
    if by.is_administrator:
        return owner, team
    return by, None


def may_have_machines(user: User, team: Team) -> bool:
    """An owner or a member of the team, no viewer. One query."""
    return Membership.objects.filter(user=user, team=team).exclude(role=Role.VIEWER).exists()
