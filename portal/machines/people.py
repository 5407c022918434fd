"""Whom it concerns what happens to a machine."""

from __future__ import annotations

from portal.accounts.models import User
from portal.machines.models import Machine
from portal.teams.models import Role


def people_of(machine: Machine) -> list[User]:
    """Its owner; of a team's machine all in the team who may operate it: its owners and members. One query at most."""
    if machine.team_id is None:
        return [machine.owner]
    roles = (Role.OWNER, Role.MEMBER)
    return list(
        User.objects.filter(memberships__team=machine.team_id, memberships__role__in=roles).distinct()
    )
