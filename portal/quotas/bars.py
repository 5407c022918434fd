"""A quota as bars: what there is now, what there would be afterwards, and the limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.functional import Promise

from portal.quotas.account import Account
from portal.quotas.amounts import LABELS, NOTHING, UNITS, Amounts, Field, Limits, short
from portal.quotas.limits import limits_of, limits_of_teams
from portal.quotas.usage import used_by, used_by_teams
from portal.teams.models import Team

NEW_MACHINE = (Field.MACHINES, Field.RUNNING, Field.CPUS, Field.MEMORY_MIB, Field.DISK_BYTES)
"""What a new machine takes of."""


@dataclass(frozen=True)
class Bar:
    """One limit. Its numbers are those of the columns; quota.js counts on with them as a form is filled in."""

    field: Field
    used: int
    afterwards: int
    limit: int

    @property
    def label(self) -> str | Promise:
        """What is counted."""
        return LABELS[self.field]

    @property
    def now_words(self) -> str:
        """What there is."""
        return short(self.field, self.used)

    @property
    def afterwards_words(self) -> str:
        """What there would be."""
        return short(self.field, self.afterwards)

    @property
    def limit_words(self) -> str:
        """What there may be."""
        return short(self.field, self.limit)

    @property
    def unit(self) -> str:
        """What stands behind its number."""
        return "GB" if self.field in UNITS else ""

    @property
    def times(self) -> int:
        """How much one of its unit is."""
        return UNITS.get(self.field, 1)

    @property
    def is_over(self) -> bool:
        """More than there may be."""
        return self.afterwards > self.limit

    @property
    def now_percent(self) -> int:
        """The length of what there is."""
        return self._percent(min(self.used, self.afterwards))

    @property
    def more_percent(self) -> int:
        """The length of what would come to it."""
        return self._percent(self.afterwards) - self.now_percent

    def _percent(self, amount: int) -> int:
        return min(100, amount * 100 // self.limit) if self.limit else 100 * (amount > 0)


def bars_of(account: Account, takes: Amounts = NOTHING, fields: Sequence[Field] = tuple(Field)) -> list[Bar]:
    """The limits that there are, with what would be taken. At most four queries; none beyond the first without limits."""
    limits = limits_of(account)
    if all(limits.of(field) is None for field in fields):
        return []
    return _bars(limits, used_by(account), takes, fields)


@dataclass(frozen=True)
class Home:
    """One that a new machine may belong to, with its bars: a team, or the person alone."""

    team: Team | None
    bars: list[Bar]
    is_chosen: bool


def homes_of(chosen: Account, teams: Sequence[Team], takes: Amounts) -> list[Home]:
    """The person and these teams; what the new machine takes comes to the one that is chosen.

    At most seven queries, however many teams there are.
    """
    own = NOTHING if chosen.team_id else takes
    homes = [Home(None, bars_of(Account(chosen.user_id), own, NEW_MACHINE), chosen.team_id is None)]
    if not teams:
        return homes
    keys = [team.pk for team in teams]
    limits, used = limits_of_teams(keys), used_by_teams(keys)
    for team in teams:
        is_chosen = team.pk == chosen.team_id
        more = takes if is_chosen else NOTHING
        bars = _bars(limits[team.pk], used.get(team.pk, NOTHING), more, NEW_MACHINE)
        homes.append(Home(team, bars, is_chosen))
    return homes


def _bars(limits: Limits, used: Amounts, takes: Amounts, fields: Sequence[Field]) -> list[Bar]:
    afterwards = used.plus(takes)
    return [
        Bar(field, used.of(field), afterwards.of(field), limit)
        for field in fields
        if (limit := limits.of(field)) is not None
    ]
