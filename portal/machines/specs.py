"""From rows to the contract's MachineSpec: the only mapper."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from uuid import UUID

from django.db.models import Prefetch
from pydantic import TypeAdapter

from portal.fleet.models import Host
from portal.images.models import Image
from portal.machines import firewall
from portal.machines.models import Disk, Machine, Nic
from portal.networks.models import Network, Uplink
from portal.networks.names import host_name_for
from workers.contract.disks import BaseOrigin, ImageOrigin, Origin
from workers.contract.networks import (
    NetworkKind,
    NetworkSpec,
    NicModel,
    NicSpec,
    Protocol,
    PublishedPort,
)
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
            nic_spec(nic)
            for nic in machine.nics.filter(is_leaving=False)
            .select_related("network")
            .prefetch_related("published_ports", _uplinks_on(machine))
            .order_by("position")
        ),
        cpu_weight=machine.cpu_weight,
        firewall=firewall.in_force(machine.firewall),
    )


def nic_spec(nic: Nic) -> NicSpec:
    """A card with its network as it is on the machine's host."""
    return NicSpec(
        network=network_spec(nic.network),
        mac=nic.mac,
        address=IPv4Address(nic.address) if nic.address else None,
        address6=IPv6Address(nic.address6) if nic.address6 else None,
        host_name=nic.host_name,
        model=NicModel(nic.model),
        slot=nic.position,
        ports=tuple(
            PublishedPort(
                protocol=Protocol(port.protocol), host_port=port.host_port, guest_port=port.guest_port
            )
            for port in nic.published_ports.all()
        ),
        mbit_in=nic.mbit_in,
        mbit_out=nic.mbit_out,
    )


def network_spec(network: Network) -> NetworkSpec:
    """A network as it is on the host whose uplinks were fetched with it (`uplinks_here`)."""
    uplinks = getattr(network, "uplinks_here", [])
    return NetworkSpec(
        id=network.pk,
        kind=NetworkKind(network.kind),
        subnet=network.range,
        subnet6=network.range6,
        routed6=network.routed6,
        bridge=uplinks[0].bridge if uplinks else None,
        domain="" if network.kind == NetworkKind.BRIDGED else host_name_for(network.name),
    )


def network_on(host: Host, network_id: UUID) -> Any:
    """The network with its uplinks on the host (`uplinks_here`); None where it is gone."""
    here = Prefetch("uplinks", queryset=Uplink.objects.filter(host=host), to_attr="uplinks_here")
    return Network.objects.prefetch_related(here).filter(pk=network_id).first()


def _uplinks_on(machine: Machine) -> Prefetch[str]:
    here = Uplink.objects.filter(host=machine.host_id)
    return Prefetch("network__uplinks", queryset=here, to_attr="uplinks_here")


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
        iops=disk.iops,
        mib_per_second=disk.mib_per_second,
    )


def disc_spec(image: Image | None) -> DiscSpec | None:
    """A file of the library; None for an empty drive."""
    return DiscSpec(image_id=image.pk, size_bytes=image.size_bytes, sha256=image.sha256) if image else None
