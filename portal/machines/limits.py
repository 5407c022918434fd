"""What a machine may take of its host: its share of the processors, and what its disks and network cards may do a second.

Its host sets it at once while it runs, and at each start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.machines.asking import change, is_starting, wanted
from portal.machines.models import Disk, Machine, Nic
from portal.refusal import Refused
from workers.contract.host import BANDWIDTH_IN_FEATURE, BANDWIDTH_OUT_FEATURE, CPU_WEIGHT_FEATURE


@dataclass(frozen=True)
class DiskLimits:
    """Reads and writes of a disk together, a second; None: no limit."""

    iops: int | None
    mib_per_second: int | None


@dataclass(frozen=True)
class CardLimits:
    """Megabits a second to the machine and from it; None: no limit."""

    mbit_in: int | None
    mbit_out: int | None


@dataclass(frozen=True)
class HostLacks:
    """What the machine's host cannot limit."""

    shares: bool
    bandwidth_in: bool
    bandwidth_out: bool


def machine_change_limits(
    *,
    machine: Machine,
    cpu_weight: int,
    disks: Mapping[UUID, DiskLimits],
    cards: Mapping[UUID, CardLimits],
    by: User,
) -> Operation:
    """Other limits; those of a disk or card that is not named stay. Raises Refused, its field that of the form.

    A share that its host cannot give is written down all the same: it counts where the host can.
    """
    with transaction.atomic():
        row = wanted(machine)
        if is_starting(row):
            raise Refused(_("The machine is just starting. Try again when it runs. Nothing was changed."))
        lacks = host_lacks(row)
        is_other = row.cpu_weight != cpu_weight
        for disk in row.disks.filter(is_leaving=False, pk__in=disks):
            is_other |= _limit_disk(disk, disks[disk.pk])
        for nic in row.nics.filter(is_leaving=False, pk__in=cards):
            is_other |= _limit_card(nic, cards[nic.pk], lacks)
        if not is_other:
            raise Refused(_("That is so already. Nothing was changed."))
        return change(row, Kind.CHANGE, by, cpu_weight=cpu_weight)


def host_lacks(machine: Machine) -> HostLacks:
    """As its host has said; one that has said nothing yet lacks nothing."""
    facts = machine.host.host_facts
    missing = frozenset(facts.missing_features) if facts is not None else frozenset[str]()
    return HostLacks(
        shares=CPU_WEIGHT_FEATURE in missing,
        bandwidth_in=BANDWIDTH_IN_FEATURE in missing,
        bandwidth_out=BANDWIDTH_OUT_FEATURE in missing,
    )


def _limit_disk(disk: Disk, limits: DiskLimits) -> bool:
    if limits == DiskLimits(disk.iops, disk.mib_per_second):
        return False
    Disk.objects.filter(pk=disk.pk).update(iops=limits.iops, mib_per_second=limits.mib_per_second)
    return True


def _limit_card(nic: Nic, limits: CardLimits, lacks: HostLacks) -> bool:
    """Raises Refused where the host cannot set the limit, which would keep the machine from starting."""
    before = CardLimits(nic.mbit_in, nic.mbit_out)
    if limits == before:
        return False
    impossible = {
        f"in-{nic.pk}": lacks.bandwidth_in and limits.mbit_in not in (None, before.mbit_in),
        f"out-{nic.pk}": lacks.bandwidth_out and limits.mbit_out not in (None, before.mbit_out),
    }
    for field, is_impossible in impossible.items():
        if is_impossible:
            words = _(
                "The kernel of its host %(host)s cannot limit this: leave it empty. Nothing was changed."
            )
            raise Refused(words % {"host": nic.host.name}, field)
    Nic.objects.filter(pk=nic.pk).update(mbit_in=limits.mbit_in, mbit_out=limits.mbit_out)
    return True
