"""The network cards of a machine that goes back to a snapshot: as its host is to have them, and then as its rows say.

A card that is there still is wired as it is now. One that comes back gets the address of then where its network gives
addresses; in a bridged network it comes back under the lock that it had last, so that going back opens nothing.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import structlog
from django.utils.translation import gettext as _

from portal.machines.address_locks import holder_of, lock_last_held
from portal.machines.cards import plug_in
from portal.machines.models import Machine, Nic
from portal.machines.specs import network_on, network_spec, spec_of
from portal.networks.models import Network
from portal.networks.services import address6_beside, free_host_name, network_plugged
from portal.refusal import Refused
from workers.contract.networks import NetworkKind
from workers.contract.spec import MachineSpec, NicSpec

log = structlog.get_logger()


def nics_then(row: Machine, then: MachineSpec) -> tuple[NicSpec, ...]:
    """The cards of then, for the host. Raises Refused where a network or an address is not to be had any more."""
    now = {nic.mac: nic for nic in spec_of(row).nics}
    nics = []
    for nic in then.nics:
        here = now.get(nic.mac)
        if here is not None and here.network.id == nic.network.id:
            nics.append(here.model_copy(update={"slot": nic.slot, "model": nic.model}))
            continue
        network = network_on(row.host, nic.network.id)
        if network is None or network.range != nic.network.subnet:
            raise Refused(_("A network of then no longer exists, so the machine cannot go back to it."))
        if network.kind == NetworkKind.BRIDGED and not network.uplinks_here:
            words = _(
                "The host is not connected to the network “%(name)s” of then any more. Nothing was changed."
            )
            raise Refused(words % {"name": network.name})
        address, address6 = _addresses_again(row, nic, network, then)
        as_now = {
            "network": network_spec(network),
            "address": IPv4Address(address) if address else None,
            "address6": IPv6Address(address6) if address6 else None,
            "host_name": free_host_name(row.name, network, row.host) if network.subnet else "",
            "ports": (),
        }
        nics.append(nic.model_copy(update=as_now))
    return tuple(nics)


def become_nics(machine: Machine, then: MachineSpec) -> None:
    """The machine's rows of cards are those of then. Raises Refused as `plug_in` does."""
    machine.nics.exclude(mac__in=[nic.mac for nic in then.nics]).delete()
    there = {nic.mac: nic for nic in machine.nics.all()}
    for wish in then.nics:
        network = Network.objects.filter(pk=wish.network.id).first()
        if network is None:
            continue
        known = there.get(wish.mac)
        if known is not None and known.network_id == network.pk:
            Nic.objects.filter(pk=known.pk).update(position=wish.slot, model=wish.model)
            continue
        if known is not None:
            known.delete()
        limits = {"mbit_in": wish.mbit_in, "mbit_out": wish.mbit_out}
        card = Nic(network=network, position=wish.slot, model=wish.model, mac=wish.mac, **limits)
        if network.kind == NetworkKind.BRIDGED:
            _plug_in_again(card, machine, wish)
            continue
        address = str(wish.address) if wish.address else None
        if address and Nic.objects.filter(host=machine.host, network=network, address=address).exists():
            address = None
        plug_in(card, machine, address=address)


def _addresses_again(
    row: Machine, nic: NicSpec, network: Network, then: MachineSpec
) -> tuple[str | None, str | None]:
    """What a card that comes back has. Raises Refused where that is another machine's now."""
    others = Nic.objects.exclude(machine=row)
    if network.kind == NetworkKind.BRIDGED:
        lock = lock_last_held(row, nic)
        address, address6 = lock.address, lock.address6
        going = row.nics.exclude(mac__in=[each.mac for each in then.nics])
        is_taken = holder_of(lock, network, but=going.values_list("pk", flat=True)) is not None
    else:
        address = str(nic.address)
        address6 = address6_beside(network, address)
        is_taken = others.filter(host=row.host, network=network, address=address).exists()
    if is_taken or others.filter(mac=nic.mac).exists():
        words = _("The address %(address)s of then belongs to another machine now. Nothing was changed.")
        raise Refused(words % {"address": address or address6 or nic.mac})
    return address, address6


def _plug_in_again(card: Nic, machine: Machine, wish: NicSpec) -> None:
    """Under the lock that it had last; not at all where somebody was locked to that address meanwhile."""
    lock = lock_last_held(machine, wish)
    if holder_of(lock, network_plugged(card.network)) is not None:
        log.warning("card of then left out", machine=str(machine.pk), mac=card.mac)
        return
    plug_in(card, machine, address=lock.address, address6=lock.address6)
