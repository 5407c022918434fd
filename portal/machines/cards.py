"""Plugging a new card into a network: the MAC, the addresses and the name that it has from then on."""

from __future__ import annotations

from django.utils.translation import gettext as _

from portal.machines.models import Machine, Nic
from portal.networks.services import address6_beside, free_address, free_host_name, network_plugged, new_mac
from portal.refusal import Refused
from workers.contract.networks import NetworkKind


def plug_in(nic: Nic, machine: Machine, *, address: str | None = None, address6: str | None = None) -> Nic:
    """Save a card of `machine` that says its network, position and model; `address`: the one that it is to have.

    In a bridged network a card with an address is locked to it, and to `address6` likewise (address_locks.py).

    Raises Refused where its network has no address left, or is not on this host. A unique constraint holds
    address and name against a neighbour's.
    """
    nic.machine, nic.host = machine, machine.host
    nic.network = network_plugged(nic.network)
    if nic.network.kind == NetworkKind.BRIDGED and not nic.network.uplinks.filter(host=nic.host).exists():
        words = _(
            "The host %(host)s is not connected to the network “%(name)s”. "
            "Choose another network, or ask an administrator to connect it."
        )
        raise Refused(words % {"host": nic.host.name, "name": nic.network.name}, "network")
    nic.mac = nic.mac or new_mac()
    nic.address = address or free_address(nic.network, machine.host)
    nic.address6 = address6_beside(nic.network, nic.address) if nic.network.subnet else address6
    nic.host_name = free_host_name(machine.name, nic.network, machine.host) if nic.network.subnet else ""
    nic.save(force_insert=True)
    return nic
