"""Undoing a change of a machine's definition that failed or was cancelled, and dropping the rows of what is gone."""

from __future__ import annotations

from typing import Any

import structlog
from django.db.models import QuerySet

from portal.activity.models import STARTING, Kind, Operation
from portal.machines import firewall
from portal.machines.address_locks import take_locks_back
from portal.machines.models import Disk, Machine, Nic
from portal.networks.models import PublishedPort
from workers.contract import networks as contract
from workers.contract.errors import MessageError
from workers.contract.messages import ApplyMachine, Observed, OperationState, Progress
from workers.contract.spec import MachineSpec, NicModel
from workers.contract.version import from_wire

_COLUMNS = (
    "cpus",
    "cpu_weight",
    "memory_mib",
    "memory_most_mib",
    "guest",
    "firmware",
    "tpm",
    "autostart",
    "boot_from",
    "boot_slot",
)
log = structlog.get_logger()


def take_back(changed: Operation, *, locks: bool) -> None:
    """Make the rows say again what was wanted before this change. Call it in a transaction, the machine's row locked.

    The name stays: it is the portal's own, and another machine may have taken the earlier one. `locks`: whether a lock to an
    address is taken back too, which whoever may cancel a change may not, unless they are an administrator.
    """
    machine = changed.machine
    earlier = Operation.objects.filter(machine=machine, generation__lt=changed.generation)
    before = earlier.exclude(state=OperationState.FAILED).order_by("-generation").first()
    failed = _spec(changed)
    spec = _spec(before)
    if machine is None or spec is None or failed is None:
        log.warning("change not taken back", operation=str(changed.pk))
        return
    columns: dict[str, Any] = {name: getattr(spec, name) for name in _COLUMNS}
    if spec.firewall != failed.firewall:
        columns["firewall"] = _firewall_before(spec, failed)
    Machine.objects.filter(pk=machine.pk).update(**columns)
    disks, nics = Disk.objects.filter(machine=machine), Nic.objects.filter(machine=machine)
    known = {disk.id for disk in spec.disks}
    disks.filter(pk__in=[disk.id for disk in failed.disks if disk.id not in known]).delete()
    for disk in spec.disks:
        disks.filter(pk=disk.id).update(
            size_bytes=disk.size_bytes,
            iops=disk.iops,
            mib_per_second=disk.mib_per_second,
            is_leaving=False,
        )
    macs = {nic.mac for nic in spec.nics}
    nics.filter(mac__in=[nic.mac for nic in failed.nics if nic.mac not in macs]).delete()
    for nic in spec.nics:
        nics.filter(mac=nic.mac).update(mbit_in=nic.mbit_in, mbit_out=nic.mbit_out, is_leaving=False)
    _take_ports_back(machine, spec, failed)
    if locks:
        take_locks_back(machine, spec, failed)


def _firewall_before(spec: MachineSpec, failed: MachineSpec) -> dict[str, Any] | None:
    """As it was; where it was off, the rules stay with it."""
    return firewall.stored(spec.firewall) or firewall.stored(failed.firewall, is_on=False)


def _take_ports_back(machine: Machine, spec: MachineSpec, failed: MachineSpec) -> None:
    """Those that it published are no more; those that it withdrew are again, where nobody has them now."""
    before, after = _ports(spec), _ports(failed)
    rows = {nic.mac: nic for nic in machine.nics.all()}
    for mac, port in after - before:
        PublishedPort.objects.filter(
            nic__machine=machine, nic__mac=mac, protocol=port.protocol, host_port=port.host_port
        ).delete()
    for mac, port in before - after:
        nic = rows.get(mac)
        taken = PublishedPort.objects.filter(
            host=machine.host_id, protocol=port.protocol, host_port=port.host_port
        )
        if nic is not None and not taken.exists():
            PublishedPort.objects.create(
                nic=nic,
                host_id=machine.host_id,
                protocol=port.protocol,
                host_port=port.host_port,
                guest_port=port.guest_port,
            )


def _ports(spec: MachineSpec) -> set[tuple[str, contract.PublishedPort]]:
    return {(nic.mac, port) for nic in spec.nics for port in nic.ports}


def settle_leaving(operation: Operation, progress: Progress) -> None:
    """A wish without them was carried out: the rows of disks and cards that were leaving go."""
    machine = operation.machine
    if progress.state is not OperationState.DONE or machine is None or operation.kind == Kind.DELETE:
        return
    disks: QuerySet[Disk] = Disk.objects.filter(machine=machine, is_leaving=True)
    nics: QuerySet[Nic] = Nic.objects.filter(machine=machine, is_leaving=True)
    if not disks.exists() and not nics.exists():
        return
    spec = _spec(operation)
    if spec is None:
        return
    disks.exclude(pk__in=[disk.id for disk in spec.disks]).delete()
    if machine.observed == Observed.RUNNING and operation.kind not in STARTING:
        # A card of the old kind is pulled at the next start only; until then its address is in use.
        nics = nics.exclude(model=NicModel.E1000)
    nics.exclude(mac__in=[nic.mac for nic in spec.nics]).delete()


def _spec(operation: Operation | None) -> MachineSpec | None:
    """What it wanted; None where that is of an older contract."""
    if operation is None:
        return None
    try:
        return from_wire(ApplyMachine, operation.message).spec
    except MessageError:
        return None
