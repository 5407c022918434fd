"""Wishes that begin at something that is there: more for a machine, a clone of it, a machine made of a backup.

Each notes what it was then (`had_…`, the sizes of a copy): whoever decides decides about that, so where it has changed the
wish is made anew, not carried out.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, Self
from uuid import UUID

from django.utils.translation import gettext as _

from portal.backups.models import Backup
from portal.machines.models import Disk, Machine
from portal.networks.models import Network
from portal.quotas.amounts import Amounts, said
from portal.quotas.amounts import Field as Counted
from portal.refusal import Refused
from portal.requests.wish import Wish, sized
from workers.contract.spec import DiskBus, DiskKind, MachineSpec, NicModel


class OfMachine(Wish):
    """About a machine that is there."""

    machine: UUID
    machine_name: str

    @property
    def title(self) -> str:
        """What a list calls it."""
        return _("More for “%(name)s”") % {"name": self.machine_name}


class MoreSize(OfMachine):
    """More processors, more memory; `memory_most_mib` is what it can be given while it runs."""

    cpus: int
    memory_mib: int
    memory_most_mib: int | None
    had_cpus: int
    had_memory_mib: int
    had_most_mib: int

    @classmethod
    def of(cls, machine: Machine, *, cpus: int, memory_mib: int, memory_most_mib: int | None) -> Self:
        """This size instead of that of now."""
        return cls(
            machine=machine.pk, machine_name=machine.name, cpus=cpus, memory_mib=memory_mib,
            memory_most_mib=memory_most_mib, had_cpus=machine.cpus, had_memory_mib=machine.memory_mib,
            had_most_mib=machine.memory_most_mib or machine.memory_mib,
        )  # fmt: skip

    @property
    def most_mib(self) -> int:
        """The most memory that it could have."""
        return max(self.memory_mib, self.memory_most_mib or 0)

    @property
    def words(self) -> str:
        """What becomes other than it is."""
        changes = (
            (Counted.CPUS, self.cpus, self.had_cpus),
            (Counted.MEMORY_MIB, self.most_mib, self.had_most_mib),
        )
        return ", ".join(_instead(field, now, had) for field, now, had in changes if now != had)

    @property
    def takes(self) -> Amounts:
        """What comes to it."""
        return Amounts(
            cpus=max(0, self.cpus - self.had_cpus), memory_mib=max(0, self.most_mib - self.had_most_mib)
        )

    @property
    def size(self) -> tuple[int, int] | None:
        """As it would be."""
        return self.cpus, self.most_mib

    @property
    def less_of(self) -> dict[str, int]:
        """Both."""
        return {"cpus": self.cpus, "memory_mib": self.most_mib}

    def _with(self, changes: dict[str, int]) -> Self:
        cpus, most = changes.get("cpus", self.cpus), changes.get("memory_mib", self.most_mib)
        if cpus < min(self.cpus, self.had_cpus) or most < min(self.most_mib, self.had_most_mib):
            raise Refused(_("That is less than the machine has now. Nothing was decided."))
        memory = min(self.memory_mib, most)
        return self.model_copy(
            update={"cpus": cpus, "memory_mib": memory, "memory_most_mib": most if most > memory else None}
        )


class MoreDisk(OfMachine):
    """One more disk."""

    disk_bytes: int
    kind: DiskKind
    bus: DiskBus
    pool: str

    @classmethod
    def of(cls, machine: Machine, *, size_bytes: int, kind: DiskKind, bus: DiskBus, pool: str) -> Self:
        """Empty, beside those that there are."""
        return cls(
            machine=machine.pk, machine_name=machine.name, disk_bytes=size_bytes, kind=kind, bus=bus, pool=pool
        )  # fmt: skip

    @property
    def words(self) -> str:
        """Its size."""
        return _("one more disk: %(size)s") % {"size": said(Counted.DISK_BYTES, self.disk_bytes)}

    @property
    def takes(self) -> Amounts:
        """Its size."""
        return Amounts(disk_bytes=self.disk_bytes)

    @property
    def less_of(self) -> dict[str, int]:
        """Its size."""
        return {"disk_bytes": self.disk_bytes}


class LargerDisk(OfMachine):
    """A disk made larger."""

    disk: UUID
    number: int
    disk_bytes: int
    had_bytes: int

    @classmethod
    def of(cls, machine: Machine, *, disk_id: UUID, size_bytes: int) -> Self:
        """This size instead of that of now. Raises Refused where there is no such disk."""
        disk = Disk.objects.filter(pk=disk_id, machine=machine).first()
        if disk is None:
            raise Refused(_("The machine has no such disk any more."))
        return cls(
            machine=machine.pk, machine_name=machine.name, disk=disk.pk, number=disk.position + 1,
            disk_bytes=size_bytes, had_bytes=disk.size_bytes,
        )  # fmt: skip

    @property
    def words(self) -> str:
        """Which disk, and how large."""
        what = _instead(Counted.DISK_BYTES, self.disk_bytes, self.had_bytes)
        return _("disk %(number)d: %(what)s") % {"number": self.number, "what": what}

    @property
    def takes(self) -> Amounts:
        """What comes to it."""
        return Amounts(disk_bytes=max(0, self.disk_bytes - self.had_bytes))

    @property
    def less_of(self) -> dict[str, int]:
        """Its size."""
        return {"disk_bytes": self.disk_bytes}


class OneMoreCard(OfMachine):
    """A card in a network that nobody is plugged into without an approval."""

    can_end: ClassVar[bool] = False
    network: UUID
    network_name: str
    model: NicModel

    @classmethod
    def of(cls, machine: Machine, *, network: Network, model: NicModel) -> Self:
        """Beside those that there are."""
        return cls(
            machine=machine.pk, machine_name=machine.name, network=network.pk, network_name=network.name,
            model=model,
        )  # fmt: skip

    @property
    def words(self) -> str:
        """Where it is plugged in."""
        return _("a network card in “%(name)s”") % {"name": self.network_name}

    @property
    def networks(self) -> list[UUID]:
        """That one."""
        return [self.network]


class _Copy(Wish):
    """Another machine, as large as what it is made of."""

    name: str
    source_name: str
    start: bool
    cpus: int
    memory_mib: int
    disk_bytes: int

    @property
    def words(self) -> str:
        """Its size."""
        return sized(self.cpus, self.memory_mib, self.disk_bytes)

    @property
    def takes(self) -> Amounts:
        """All of it."""
        return Amounts(1, int(self.start), self.cpus, self.memory_mib, self.disk_bytes)

    @property
    def size(self) -> tuple[int, int] | None:
        """That of its source."""
        return self.cpus, self.memory_mib


class Clone(_Copy):
    """A linked or a full clone of a machine."""

    machine: UUID
    linked: bool

    @classmethod
    def of(cls, machine: Machine, *, name: str, linked: bool, start: bool) -> Self:
        """Of the machine as it is now."""
        return cls(
            machine=machine.pk, source_name=machine.name, name=name, linked=linked, start=start,
            cpus=machine.cpus, memory_mib=machine.memory_most_mib or machine.memory_mib,
            disk_bytes=sum(machine.disks.values_list("size_bytes", flat=True)),
        )  # fmt: skip

    @property
    def title(self) -> str:
        """What a list calls it."""
        return _("Clone “%(name)s” of “%(source)s”") % {"name": self.name, "source": self.source_name}


class Restored(_Copy):
    """A machine made of a backup, off at first."""

    backup: UUID

    @classmethod
    def of(cls, backup: Backup, *, name: str) -> Self:
        """As large as it was then."""
        spec = MachineSpec.model_validate_json(json.dumps(backup.spec))
        return cls(
            backup=backup.pk, source_name=backup.machine_name, name=name, start=False, cpus=spec.cpus,
            memory_mib=spec.memory_most_mib or spec.memory_mib,
            disk_bytes=sum(disk.size_bytes for disk in spec.disks),
        )  # fmt: skip

    @property
    def title(self) -> str:
        """What a list calls it."""
        return _("Machine “%(name)s” from a backup of “%(source)s”") % {
            "name": self.name,
            "source": self.source_name,
        }


def has_changed(wish: Wish, again: Wish) -> bool:
    """Whether it is no longer what was asked for; another name of the same machine is no change."""
    names = {"machine_name", "source_name", "network_name"}
    return _but(wish, names) != _but(again, names)


def _but(wish: Wish, names: set[str]) -> dict[str, Any]:
    return wish.model_dump(exclude=names)


def _instead(field: Counted, now: int, had: int) -> str:
    return _("%(now)s instead of %(had)s") % {"now": said(field, now), "had": said(field, had)}
