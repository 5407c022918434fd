"""A quota as bars: what there is now, what there would be afterwards, and the limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.functional import Promise

from portal.quotas.account import Account
from portal.quotas.amounts import LABELS, NOTHING, UNITS, Amounts, Field, short
from portal.quotas.limits import limits_of
from portal.quotas.usage import used_by

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
    wanted = [(field, limit) for field in fields if (limit := limits.of(field)) is not None]
    if not wanted:
        return []
    used = used_by(account)
    afterwards = used.plus(takes)
    return [Bar(field, used.of(field), afterwards.of(field), limit) for field, limit in wanted]
