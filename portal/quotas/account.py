"""Against whose quota something counts: the team's that a machine belongs to, else its owner's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Q

from portal.accounts.models import User
from portal.teams.models import Team

if TYPE_CHECKING:
    from portal.machines.models import Machine


@dataclass(frozen=True)
class Account:
    """A team, or a person where there is none."""

    user_id: int
    team_id: int | None = None

    @property
    def machines(self) -> Q:
        """Which machines count against it."""
        if self.team_id is not None:
            return Q(team=self.team_id)
        return Q(owner=self.user_id, team__isnull=True)

    def lock(self) -> None:
        """Nobody else counts for it to the end of the transaction. Its rows may still be pointed at meanwhile."""
        if self.team_id is not None:
            Team.objects.select_for_update(no_key=True).filter(pk=self.team_id).values_list("pk").first()
        else:
            User.objects.select_for_update(no_key=True).filter(pk=self.user_id).values_list("pk").first()


def account_of(machine: Machine) -> Account:
    """The one that the machine counts against."""
    return Account(machine.owner_id, machine.team_id)
