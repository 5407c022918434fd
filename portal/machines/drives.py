"""The disc drives of a machine: which there are, and what is in them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from portal.images.models import Image
from portal.machines.models import Machine
from workers.contract.spec import GuestKind


class Drive(StrEnum):
    """Which disc drive, by the machine's column that says what is in it."""

    FIRST = "disc"
    SECOND = "second_disc"


@dataclass(frozen=True)
class ShownDrive:
    """A drive as the machine's page shows it; one that is not there comes with the first disc that is put in."""

    name: str
    label: str | Promise
    disc: Image | None
    is_there: bool


def has_second_drive(row: Machine) -> bool:
    """The machine has a second disc drive (the contract's MachineSpec says when)."""
    return row.guest != GuestKind.LINUX or row.second_disc_id is not None


def drives_of(row: Machine, *, is_off: bool) -> list[ShownDrive]:
    """Its drives, and the one that it could have where it `is_off`. No query where the discs were fetched with it."""
    is_there = has_second_drive(row)
    first = ShownDrive(Drive.FIRST, _("Disc drive"), row.disc, is_there=True)
    second = ShownDrive(Drive.SECOND, _("Second disc drive"), row.second_disc, is_there)
    return [first, second] if is_there or is_off else [first]
