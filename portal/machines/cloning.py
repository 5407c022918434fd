"""New machines that begin as another one: linked and full clones, and machines from a template."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.machines import firewall
from portal.machines.asking import off, record, refuse_while_copied
from portal.machines.cards import plug_in
from portal.machines.freezing import begin_template, freeze
from portal.machines.homes import home_of_copy, refuse_taken_name
from portal.machines.models import Base, Disk, Machine, Nic, Template
from portal.machines.room import WantedDisk, needs_room_on
from portal.machines.services import clean_name
from portal.networks.models import Network
from portal.networks.names import host_name_for
from portal.refusal import Refused
from portal.teams.models import Team
from workers.contract.disks import CopyOrigin, DiskKind
from workers.contract.spec import BootFrom, MachineSpec, Power

_HARDWARE = (
    "cpus",
    "cpu_weight",
    "firewall",
    "memory_mib",
    "memory_most_mib",
    "guest",
    "firmware",
    "tpm",
    "autostart",
    "boot_slot",
    "seed",
)
"""What a clone has from its source. Not the discs in its drives, and not what is in its security chip."""

_CARD = ("network", "position", "model", "mbit_in", "mbit_out")


def machine_clone(*, machine: Machine, name: str, linked: bool, start: bool, by: User) -> Operation:
    """Another machine that begins as this one, which is off; the operation that makes it. Raises Refused.

    Linked: both go on above what is now in the disks, which takes no time and no room. Full: the disks are copied, and
    this machine stays off for as long.
    """
    with same_moment(), transaction.atomic():
        source = off(machine)
        refuse_while_copied(source)
        disks = list(source.disks.order_by("position"))
        first: Operation | None = None
        if linked:
            template = _as_it_is(source, disks)
            if template is None:
                template = begin_template(source, name=source.name, holds_clones=True)
                first = freeze(source, template, by)
            bases = {base.position: base for base in template.bases.all()}
            wanted = [
                Disk(position=disk.position, size_bytes=disk.size_bytes, kind=DiskKind.GROWING, bus=disk.bus,
                     pool=disk.pool, base=bases[disk.position], iops=disk.iops, mib_per_second=disk.mib_per_second)
                for disk in disks
            ]  # fmt: skip
        else:
            wanted = [
                Disk(position=disk.position, size_bytes=disk.size_bytes, kind=disk.kind, bus=disk.bus, pool=disk.pool,
                     origin=CopyOrigin(machine_id=source.pk, disk_id=disk.pk).model_dump(mode="json"), iops=disk.iops,
                     mib_per_second=disk.mib_per_second)
                for disk in disks
            ]  # fmt: skip
        owner, team = home_of_copy(by, owner=source.owner, team=source.team)
        hardware = {field: getattr(source, field) for field in _HARDWARE}
        clone = Machine(owner=owner, team=team, host=source.host, **hardware)
        nics = [
            Nic(**{field: getattr(nic, field) for field in _CARD})
            for nic in source.nics.select_related("network").order_by("position")
        ]
        return make_like(clone, name, wanted, nics, by, start=start, after=first)


def machine_from_template(
    *,
    template: Template,
    owner: User,
    name: str,
    cpus: int,
    memory_mib: int,
    network: Network | None,
    by: User,
    team: Team | None = None,
    start: bool = True,
) -> Operation:
    """A new machine above the template's disks, started at once unless told otherwise. Raises Refused."""
    with same_moment(), transaction.atomic():
        row = Template.objects.select_for_update(of=("self",)).select_related("host").get(pk=template.pk)
        if not row.is_ready:
            raise Refused(_("The template is not ready, or is being removed."))
        hardware = hardware_of(row)
        pools = {disk.slot: disk.pool or "" for disk in hardware.disks}
        wanted = [
            Disk(position=base.position, size_bytes=base.size_bytes, kind=DiskKind.GROWING, bus=base.bus,
                 pool=pools.get(base.position, ""), base=base)
            for base in Base.objects.filter(template=row).order_by("position")
        ]  # fmt: skip
        machine = Machine(
            owner=owner,
            team=team,
            host=row.host,
            cpus=cpus,
            memory_mib=memory_mib,
            firewall=firewall.stored(hardware.firewall or firewall.for_new_machine(hardware.guest)),
            guest=hardware.guest,
            firmware=hardware.firmware,
            tpm=hardware.tpm,
            autostart=hardware.autostart,
            boot_slot=hardware.boot_slot,
        )
        nics = []
        if network is not None:
            model = {"model": hardware.nics[0].model} if hardware.nics else {"model": "virtio"}
            nics.append(Nic(network=network, position=0, **model))
        return make_like(machine, name, wanted, nics, by, start=start)


def hardware_of(template: Template) -> MachineSpec:
    """The machine that the template was."""
    return MachineSpec.model_validate_json(json.dumps(template.hardware))


def make_like(
    machine: Machine,
    name: str,
    disks: Sequence[Disk],
    nics: Sequence[Nic],
    by: User,
    *,
    start: bool,
    after: Operation | None = None,
) -> Operation:
    """Make a new machine of these rows, with a name and addresses of its own. Raises Refused."""
    machine.name = clean_name(name)
    refuse_taken_name(machine.name, owner=machine.owner, team=machine.team)
    needs_room_on(
        machine.host,
        cpus=machine.cpus,
        memory_mib=machine.memory_mib if start else 0,
        disks=[WantedDisk(disk.size_bytes, DiskKind(disk.kind), disk.pool) for disk in disks],
    )
    machine.boot_from = BootFrom.DISK
    machine.power, machine.run = (Power.RUNNING, 1) if start else (Power.OFF, 0)
    machine.seed = _own_seed(machine.seed, machine.name)
    machine.save(force_insert=True)
    for disk in disks:
        disk.machine = machine
        disk.save(force_insert=True)
    for nic in sorted(
        nics, key=lambda nic: nic.network_id
    ):  # locked in one order, so that two never wait for each other
        plug_in(nic, machine)
    return record(machine, Kind.CREATE, by, after=after)


def _as_it_is(source: Machine, disks: Sequence[Disk]) -> Template | None:
    """What an earlier linked clone stands on, where nothing was written to the source since: it has not run."""
    bases = [disk.base_id for disk in disks]
    if None in bases:
        return None
    template = Template.objects.filter(
        holds_clones=True, is_ready=True, bases=bases[0], hardware__run=source.run,
        hardware__machine_id=str(source.pk),
    ).first()  # fmt: skip
    if template is None or set(template.bases.values_list("pk", flat=True)) != set(bases):
        return None
    sizes = {base.pk: base.size_bytes for base in template.bases.all()}
    return template if all(sizes[disk.base_id] == disk.size_bytes for disk in disks if disk.base_id) else None


def _own_seed(seed: Any, name: str) -> Any:
    """The first settings of a cloud image under the machine's own name."""
    if not seed:
        return None
    return seed | {"host_name": host_name_for(name)}


@contextmanager
def same_moment() -> Iterator[None]:
    """Somebody was quicker with a name or an address: said in words."""
    try:
        yield
    except IntegrityError as exc:
        raise Refused(_("Something changed at the same moment. Nothing was made: please try again.")) from exc
