"""A machine made anew: its disks become again what they began as, and all that was written to them since is gone."""

from __future__ import annotations

import uuid

from django.db import transaction
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.machines.asking import change, changeable, refuse_while_copied
from portal.machines.models import Disk, Machine
from portal.refusal import Refused
from workers.contract.spec import Power, StopMode


def machine_renew(*, machine: Machine, by: User) -> Operation:
    """Cut it off, give it new disks of the template or image that its own began as, and start it where it ran. Raises Refused.

    A disk that began as neither stays as it is. To the host each is another disk: the file of the one before goes with it.
    """
    with transaction.atomic():
        row = changeable(machine, also_hibernated=True)
        refuse_while_copied(row)
        if row.snapshots.exists():
            raise Refused(
                _(
                    "The machine has snapshots, which lie in its disks. Delete them first. Nothing was changed."
                )
            )
        disks = [disk for disk in row.disks.filter(is_leaving=False) if can_be_renewed(disk)]
        if not disks:
            raise Refused(_("None of its disks began as a template or a disk image. Nothing was changed."))
        for disk in disks:
            Disk.objects.filter(pk=disk.pk).update(id=uuid.uuid4())
        runs = row.power in (Power.RUNNING, Power.PAUSED)
        power = {"power": Power.RUNNING, "run": row.run + 1} if runs else {"power": Power.OFF}
        return change(row, Kind.RENEW, by, stop_mode=StopMode.FORCE, **power)


def can_be_renewed(disk: Disk) -> bool:
    """What the disk began as is still there."""
    return disk.base_id is not None or disk.image_id is not None
