"""What somebody has now, counted from the rows that there are: no counter that could drift.

A machine counts from the moment that it is asked for. It gives its share back when it is to be deleted, and when making
it has failed; starting such a one again asks for its share anew. A disk that is removed counts until its host has done it.
Memory is the most that the machine can be given. What stands still or is just being shut down counts as running.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db.models import (
    BigIntegerField,
    Case,
    Count,
    Exists,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from django.utils import timezone

from portal.activity.models import OPEN_STATES, Kind, Operation
from portal.machines.models import Disk, Machine, Nic, Snapshot
from portal.networks.models import PublishedPort
from portal.quotas.account import Account
from portal.quotas.amounts import NOTHING, Amounts, Field
from portal.quotas.models import Grant
from workers.contract.messages import Observed, OperationState
from workers.contract.spec import Power

_LIVES = (Observed.RUNNING, Observed.PAUSED)


@dataclass(frozen=True)
class Share:
    """What one machine takes, whether or not it counts, and how many of its cards are in networks to be asked for."""

    amounts: Amounts = NOTHING
    cpus: int = 0
    memory_mib: int = 0
    cards_to_ask_for: int = 0

    def and_then(self, more: Amounts) -> Share:
        """With what is to come to it."""
        if more == NOTHING:
            return self
        return replace(
            self, amounts=self.amounts.plus(more), cpus=self.cpus + more.cpus,
            memory_mib=self.memory_mib + more.memory_mib,
        )  # fmt: skip


def used_by(account: Account) -> Amounts:
    """What counts against the account. One query."""
    found = _counted().filter(account.machines).aggregate(**_totals())
    return Amounts(**{each: int(found[f"all_{each}"] or 0) for each in Field})


def used_by_teams(teams: Collection[int]) -> dict[int, Amounts]:
    """The same for each of these teams that has anything. One query."""
    return dict(_by(_counted().filter(team__in=teams).order_by().values_list("team")))


def used_by_all() -> dict[Account, Amounts]:
    """The same for every person and team that has anything. Two queries."""
    of_people = _counted().filter(team__isnull=True).order_by().values_list("owner")
    of_teams = _counted().filter(team__isnull=False).order_by().values_list("team")
    found = {Account(who): amounts for who, amounts in _by(of_people)}
    return found | {Account(0, who): amounts for who, amounts in _by(of_teams)}


def _by(rows: Any, prefix: str = "its_") -> Iterator[tuple[int, Amounts]]:
    for who, *numbers in rows.annotate(**_totals(prefix)):
        yield who, Amounts(**{each: int(number or 0) for each, number in zip(Field, numbers, strict=True)})


def granted_to(account: Account) -> Amounts:
    """What was approved over the account's quota, for machines that count, and is not over. One query."""
    found = _granted(account.machines).aggregate(**_totals(""))
    return Amounts(**{each: int(found[f"all_{each}"] or 0) for each in Field})


def granted_to_teams(teams: Collection[int]) -> dict[int, Amounts]:
    """The same for each of these teams that was granted anything. One query."""
    return dict(_by(_granted(Q(team__in=teams)).order_by().values_list("machine__team"), ""))


def _granted(machines: Q) -> QuerySet[Grant]:
    counts = Q(ends_on=None) | Q(ends_on__gte=timezone.now().date())
    return Grant.objects.filter(counts, machine__in=_counted().filter(machines).values("pk"))


def share_of(machine_id: UUID) -> Share:
    """What the machine takes. One query."""
    row = (
        _measured(Machine.objects.filter(pk=machine_id))
        .annotate(
            counts=Case(When(_counts(), then=Value(1)), default=Value(0)),
            to_ask_for=_number(Nic.objects.filter(network__to_ask_for__isnull=False), "machine"),
        )
        .values(*(f"its_{each}" for each in Field), "counts", "to_ask_for", "cpus")
        .first()
    )
    if row is None:
        return Share()
    amounts = Amounts(**{each: int(row[f"its_{each}"]) for each in Field}) if row["counts"] else Amounts()
    return Share(amounts, row["cpus"], row["its_memory_mib"], row["to_ask_for"])


def _counts() -> Q:
    """Neither on its way out nor one whose making failed, with nothing done or asked since."""
    its = Operation.objects.filter(machine=OuterRef("pk"))
    failed = Exists(its.filter(kind=Kind.CREATE, state=OperationState.FAILED))
    anything = Exists(its.filter(state__in=[*OPEN_STATES, OperationState.DONE]))
    was_never_made = Q(failed) & ~Q(anything) & ~Q(observed__in=(*_LIVES, Observed.SAVED))
    return ~Q(power=Power.GONE) & ~was_never_made


def _counted() -> QuerySet[Machine]:
    return _measured(Machine.objects.filter(_counts()))


def _measured(machines: QuerySet[Machine]) -> QuerySet[Machine]:
    """With what each takes as `its_<field>`."""
    runs = Q(power__in=(Power.RUNNING, Power.PAUSED)) | Q(observed__in=_LIVES)
    return machines.annotate(
        its_machines=Value(1),
        its_running=Case(When(runs, then=Value(1)), default=Value(0)),
        its_cpus=F("cpus"),
        its_memory_mib=Coalesce("memory_most_mib", "memory_mib"),
        its_disk_bytes=_sum(Disk.objects.all(), "machine", "size_bytes"),
        its_snapshots=_number(Snapshot.objects.all(), "machine"),
        its_published_ports=_number(PublishedPort.objects.all(), "nic__machine"),
    )


def _totals(prefix: str = "its_") -> dict[str, Any]:
    return {f"all_{each}": Sum(f"{prefix}{each}") for each in Field}


def _number(rows: QuerySet[Any], path: str) -> Coalesce:
    return _of_each(rows, path, Count("pk"))


def _sum(rows: QuerySet[Any], path: str, column: str) -> Coalesce:
    return _of_each(rows, path, Sum(column))


def _of_each(rows: QuerySet[Any], path: str, what: Any) -> Coalesce:
    """Counted beside the machines, not joined to them: a join would multiply the one by the other."""
    beside = rows.filter(**{path: OuterRef("pk")}).order_by().values(path).annotate(n=what).values("n")
    return Coalesce(Subquery(beside), Value(0), output_field=BigIntegerField())
