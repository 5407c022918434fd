"""What every kind of wish says of itself, whatever it asks for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self
from uuid import UUID

from django.utils.translation import gettext as _
from pydantic import BaseModel, ConfigDict, Field

from portal.quotas.amounts import Amounts, said
from portal.quotas.amounts import Field as Counted
from portal.refusal import Refused
from workers.contract.spec import GIB


class Less(BaseModel):
    """What an approver gives in its place; None: as it was asked for."""

    model_config = ConfigDict(frozen=True)

    cpus: int | None = Field(None, ge=1)
    memory_mib: int | None = Field(None, ge=64)
    disk_bytes: int | None = Field(None, ge=GIB)


class Wish(BaseModel, ABC):
    """Checked data, kept until somebody decides."""

    model_config = ConfigDict(frozen=True)

    can_end: ClassVar[bool] = True
    """Whether it can be had for a time only."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What a list calls it."""

    @property
    @abstractmethod
    def words(self) -> str:
        """How much it is."""

    @property
    def takes(self) -> Amounts:
        """What it counts for."""
        return Amounts()

    @property
    def size(self) -> tuple[int, int] | None:
        """Processors and MiB of memory that the machine would have, where it is about its size."""
        return None

    @property
    def networks(self) -> list[UUID]:
        """Where it would be plugged in."""
        return []

    @property
    def less_of(self) -> dict[str, int]:
        """What an approver can give less of, and how much of it is asked for; the names are those of `Less`."""
        return {}

    def lessened(self, less: Less) -> Self:
        """With less of what is said; never more than was asked for. Raises Refused."""
        changes = {name: value for name, value in less.model_dump().items() if value is not None}
        if any(name not in self.less_of for name in changes):
            raise Refused(_("There is no less of that. Nothing was decided."))
        if any(value > self.less_of[name] for name, value in changes.items()):
            raise Refused(_("That is more than was asked for. Nothing was decided."))
        return self._with(changes)

    def _with(self, changes: dict[str, int]) -> Self:
        return self.model_copy(update=changes)


def sized(cpus: int, memory_mib: int, disk_bytes: int) -> str:
    """A machine's size in words."""
    sizes = ((Counted.CPUS, cpus), (Counted.MEMORY_MIB, memory_mib), (Counted.DISK_BYTES, disk_bytes))
    return ", ".join(said(field, amount) for field, amount in sizes)
