"""What a quota counts: seven amounts, their names and how they are said. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from portal.live.templatetags.page import gib, mib
from workers.contract.spec import GIB


class Field(StrEnum):
    """What is counted; the names are those of the models' columns."""

    MACHINES = "machines"
    RUNNING = "running"
    CPUS = "cpus"
    MEMORY_MIB = "memory_mib"
    DISK_BYTES = "disk_bytes"
    SNAPSHOTS = "snapshots"
    PUBLISHED_PORTS = "published_ports"


LABELS: dict[Field, str | Promise] = {
    Field.MACHINES: _("Machines"),
    Field.RUNNING: _("Running at once"),
    Field.CPUS: _("Processors"),
    Field.MEMORY_MIB: _("Memory"),
    Field.DISK_BYTES: _("Disk"),
    Field.SNAPSHOTS: _("Snapshots"),
    Field.PUBLISHED_PORTS: _("Published ports"),
}
SHORT: dict[Field, Callable[[int], str]] = {
    Field.MEMORY_MIB: mib,
    Field.DISK_BYTES: gib,
}
UNITS = {Field.MEMORY_MIB: 1024, Field.DISK_BYTES: GIB}
"""How much one of the numbers that a person types is; where it is not here, one."""


@dataclass(frozen=True)
class Amounts:
    """So much of each; what somebody has, or would take."""

    machines: int = 0
    running: int = 0
    cpus: int = 0
    memory_mib: int = 0
    disk_bytes: int = 0
    snapshots: int = 0
    published_ports: int = 0

    def of(self, field: Field) -> int:
        """The amount of one of them."""
        return int(getattr(self, field))

    def plus(self, other: Amounts) -> Amounts:
        """Both together."""
        return Amounts(**{each: self.of(each) + other.of(each) for each in Field})

    def more_than(self, other: Amounts) -> tuple[Field, ...]:
        """What of this is more than in the other."""
        return tuple(each for each in Field if self.of(each) > other.of(each))


NOTHING = Amounts()


@dataclass(frozen=True)
class Limits:
    """At most so much of each; None: as much as there is."""

    machines: int | None = None
    running: int | None = None
    cpus: int | None = None
    memory_mib: int | None = None
    disk_bytes: int | None = None
    snapshots: int | None = None
    published_ports: int | None = None

    def of(self, field: Field) -> int | None:
        """The limit of one of them."""
        found: int | None = getattr(self, field)
        return found

    def and_granted(self, granted: Amounts) -> Limits:
        """With what was approved beside it."""
        limits = {each: self.of(each) for each in Field}
        return Limits(**{
            each: None if limit is None else limit + granted.of(each) for each, limit in limits.items()
        })  # fmt: skip

    def raised_to(self, higher: Limits) -> Limits:
        """The higher one of each; where there is none, none comes."""
        changed = {}
        for each in Field:
            now, then = self.of(each), higher.of(each)
            changed[each] = now if now is None or then is None else max(now, then)
        return Limits(**changed)

    @property
    def are_none(self) -> bool:
        """Nothing is limited."""
        return all(getattr(self, each.name) is None for each in fields(self))


def short(field: Field, amount: int) -> str:
    """“4”, “8 GB”."""
    return SHORT.get(field, str)(amount)


def said(field: Field, amount: int) -> str:
    """“4 processors”, “8 GB of memory”."""
    words: Mapping[Field, str] = {
        Field.MACHINES: ngettext("%(n)s machine", "%(n)s machines", amount),
        Field.RUNNING: ngettext("%(n)s running machine", "%(n)s running machines", amount),
        Field.CPUS: ngettext("%(n)s processor", "%(n)s processors", amount),
        Field.MEMORY_MIB: ngettext("%(n)s of memory", "%(n)s of memory", amount),
        Field.DISK_BYTES: ngettext("%(n)s of disk", "%(n)s of disk", amount),
        Field.SNAPSHOTS: ngettext("%(n)s snapshot", "%(n)s snapshots", amount),
        Field.PUBLISHED_PORTS: ngettext("%(n)s published port", "%(n)s published ports", amount),
    }
    return words[field] % {"n": short(field, amount)}
