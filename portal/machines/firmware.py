"""What starts a machine: its firmware, its TPM and the kind of system that it is for, and the change of them."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.fleet.placement import features_of
from portal.machines.asking import change, wanted
from portal.machines.hardware import MOST_SATA_DISKS
from portal.machines.models import Machine
from portal.refusal import Refused
from workers.contract.messages import Observed
from workers.contract.spec import DiskBus, Firmware, GuestKind


@dataclass(frozen=True)
class FirmwareWish:
    """What shall start the machine."""

    guest: GuestKind
    firmware: Firmware
    tpm: bool


def firmware_change(*, machine: Machine, wish: FirmwareWish, by: User) -> Operation:
    """Change it on a machine that is off; what the firmware and the TPM of before keep is not deleted. Raises Refused."""
    with transaction.atomic():
        row = wanted(machine)
        if row.observed != Observed.OFF:
            raise Refused(_("The machine has to be off for this. Nothing was changed: shut it down first."))
        if (row.guest, row.firmware, row.tpm) == (wish.guest, wish.firmware, wish.tpm):
            raise Refused(_("That is what it has already. Nothing was changed."))
        facts = row.host.host_facts
        if facts is not None and features_of(wish.firmware, tpm=wish.tpm) & set(facts.missing_features):
            raise Refused(
                _("The machine's host has no such firmware or TPM installed. Nothing was changed."),
                "firmware",
            )
        sata = row.disks.filter(bus=DiskBus.SATA).count()
        if wish.guest is not GuestKind.LINUX and sata > MOST_SATA_DISKS:
            words = _("With a second drive a machine has at most %(most)d SATA disks. Nothing was changed.")
            raise Refused(words % {"most": MOST_SATA_DISKS}, "guest")
        return change(row, Kind.CHANGE, by, guest=wish.guest, firmware=wish.firmware, tpm=wish.tpm)
