"""From rows to the contract's MachineSpec: the only mapper."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from portal.machines.models import Machine
from workers.contract.spec import (
    BootFrom,
    DiscSpec,
    DiskBus,
    DiskKind,
    DiskSpec,
    MachineSpec,
    NetworkSpec,
    NicModel,
    NicSpec,
    Power,
    StopMode,
)


def spec_of(machine: Machine) -> MachineSpec:
    """The whole wish, as the machine's rows say now. Reads disks, disc, nics and networks (up to three queries)."""
    disc = machine.disc
    return MachineSpec(
        machine_id=machine.pk,
        generation=machine.generation,
        run=machine.run,
        power=Power(machine.power),
        stop_mode=StopMode(machine.stop_mode),
        name=machine.name,
        cpus=machine.cpus,
        memory_mib=machine.memory_mib,
        disks=tuple(
            DiskSpec(id=disk.pk, size_bytes=disk.size_bytes, kind=DiskKind(disk.kind), bus=DiskBus(disk.bus))
            for disk in machine.disks.order_by("position")
        ),
        disc=DiscSpec(image_id=disc.pk, size_bytes=disc.size_bytes, sha256=disc.sha256) if disc else None,
        boot_from=BootFrom(machine.boot_from),
        nics=tuple(
            NicSpec(
                network=NetworkSpec(id=nic.network_id, subnet=IPv4Network(nic.network.subnet)),
                mac=nic.mac,
                address=IPv4Address(nic.address),
                model=NicModel(nic.model),
            )
            for nic in machine.nics.select_related("network").order_by("position")
        ),
    )
