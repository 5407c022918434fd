"""From rows to the contract's MachineSpec: the only mapper."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from pydantic import TypeAdapter

from portal.images.models import Image
from portal.machines.models import Disk, Machine
from workers.contract.disks import BaseOrigin, ImageOrigin, Origin
from workers.contract.spec import (
    Autostart,
    BootFrom,
    DiscSpec,
    DiskBus,
    DiskKind,
    DiskSpec,
    Firmware,
    GuestKind,
    MachineSpec,
    NetworkSpec,
    NicModel,
    NicSpec,
    Power,
    SeedSpec,
    StopMode,
)

_ORIGINS: TypeAdapter[Any] = TypeAdapter(Origin)


def spec_of(machine: Machine) -> MachineSpec:
    """The whole wish, as the machine's rows say now. Reads disks, discs, nics and networks (up to four queries)."""
    return MachineSpec(
        machine_id=machine.pk,
        generation=machine.generation,
        run=machine.run,
        power=Power(machine.power),
        stop_mode=StopMode(machine.stop_mode),
        name=machine.name,
        cpus=machine.cpus,
        memory_mib=machine.memory_mib,
        memory_most_mib=machine.memory_most_mib,
        guest=GuestKind(machine.guest),
        firmware=Firmware(machine.firmware),
        tpm=machine.tpm,
        autostart=Autostart(machine.autostart),
        disks=tuple(
            disk_spec(disk)
            for disk in machine.disks.filter(is_leaving=False).select_related("image").order_by("position")
        ),
        disc=disc_spec(machine.disc),
        second_disc=disc_spec(machine.second_disc),
        boot_from=BootFrom(machine.boot_from),
        boot_slot=machine.boot_slot,
        seed=SeedSpec.model_validate_json(json.dumps(machine.seed)) if machine.seed else None,
        nics=tuple(
            NicSpec(
                network=NetworkSpec(id=nic.network_id, subnet=IPv4Network(nic.network.subnet)),
                mac=nic.mac,
                address=IPv4Address(nic.address),
                model=NicModel(nic.model),
                slot=nic.position,
            )
            for nic in machine.nics.filter(is_leaving=False).select_related("network").order_by("position")
        ),
    )


def disk_spec(disk: Disk) -> DiskSpec:
    """A disk with what it begins as."""
    origin: Any = None
    if disk.base_id is not None:
        origin = BaseOrigin(base_id=disk.base_id)
    elif disk.image is not None:
        image = disk.image
        origin = ImageOrigin(
            image=DiscSpec(image_id=image.pk, size_bytes=image.size_bytes, sha256=image.sha256)
        )
    elif disk.origin is not None:
        origin = _ORIGINS.validate_json(json.dumps(disk.origin))
    return DiskSpec(
        id=disk.pk,
        size_bytes=disk.size_bytes,
        kind=DiskKind(disk.kind),
        bus=DiskBus(disk.bus),
        slot=disk.position,
        pool=disk.pool or None,
        origin=origin,
    )


def disc_spec(image: Image | None) -> DiscSpec | None:
    """A file of the library; None for an empty drive."""
    return DiscSpec(image_id=image.pk, size_bytes=image.size_bytes, sha256=image.sha256) if image else None
