"""Who has a machine in their lists: the people and teams whose open pages are told when it changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from django.utils import timezone

from portal.machines.models import Machine
from portal.teams.models import Membership


@dataclass(frozen=True)
class Audience:
    """Ids of people and of teams; administrators and auditors hear of everything anyway."""

    people: frozenset[int] = frozenset()
    teams: frozenset[int] = frozenset()

    def everybody(self) -> frozenset[int]:
        """The ids of the people, those in the teams too. One query."""
        members = Membership.objects.filter(team__in=self.teams).values_list("user", flat=True)
        return self.people | frozenset(members)


def audience_of(machine_id: UUID) -> Audience:
    """Of the machine as it is now; nobody where there is none. One query."""
    columns = ("owner", "team", "shares__user", "shares__team", "shares__ends_on")
    return _of(Machine.objects.filter(pk=machine_id).values_list(*columns))


def _of(rows: Iterable[tuple[int, int | None, int | None, int | None, date | None]]) -> Audience:
    people, teams = set[int](), set[int]()
    today = timezone.now().date()
    for owner, team, shared_user, shared_team, ends_on in rows:
        if team is None:
            people.add(owner)
        else:
            teams.add(team)
        if ends_on is not None and ends_on < today:
            continue
        if shared_team is not None:
            teams.add(shared_team)
        if shared_user is not None:
            people.add(shared_user)
    return Audience(frozenset(people), frozenset(teams))
