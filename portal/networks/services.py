"""Networks and the addresses in them."""

from __future__ import annotations

import secrets
from ipaddress import IPv4Address

from django.conf import settings
from django.db.models import Q
from django.utils.translation import gettext as _

from portal.fleet.models import Host
from portal.networks.models import Network
from portal.networks.names import free_name, host_name_for
from portal.refusal import Refused

PRIVATE = "private"


def private_network() -> Network:
    """The network that a machine gets where nobody chooses: there from the start, NAT, whatever it is called now."""
    network, _created = Network.objects.get_or_create(
        is_default=True, defaults={"name": PRIVATE, "subnet": settings.PRIVATE_SUBNET}
    )
    return network


def networks_locked(network: Network) -> Network:
    """The network's row, locked to the end of the transaction; raises Refused where it is gone.

    The default network is locked with it, always in the same order, so that changes of ranges come one after the other.
    """
    wanted = Q(pk=network.pk) | Q(is_default=True)
    rows = {row.pk: row for row in Network.objects.select_for_update().filter(wanted).order_by("pk")}
    return _there(rows.get(network.pk))


def network_plugged(network: Network) -> Network:
    """The network's row as it is now, locked, so that its range stays what it is while a card gets an address of it."""
    return _there(Network.objects.select_for_update().filter(pk=network.pk).first())


def _there(row: Network | None) -> Network:
    if row is None:
        raise Refused(_("That network is not there any more. Nothing was changed."), "network")
    return row


def free_address(network: Network, host: Host) -> str | None:
    """The lowest free guest address of the network on this host; None in a bridged one. Raises Refused where all are taken.

    Call it in the transaction that uses the address; a unique constraint holds it against a neighbour's.
    """
    if network.range is None:
        return None
    taken = set(host.nics.filter(network=network).values_list("address", flat=True))
    hosts = network.range.hosts()
    next(hosts)  # the first is the host's own
    for address in hosts:
        if str(address) not in taken:
            return str(address)
    raise Refused(
        _("All addresses of the network “%(name)s” are in use on this host.") % {"name": network.name},
        "network",
    )


def address6_beside(network: Network, address: str | None) -> str | None:
    """The IPv6 address of a card: as far into the IPv6 subnet as its other one is into the other. None without IPv6."""
    if network.range is None or network.range6 is None or address is None:
        return None
    offset = int(IPv4Address(address)) - int(network.range.network_address)
    return str(network.range6[offset])


def free_host_name(machine_name: str, network: Network, host: Host) -> str:
    """The name under which a machine is found in the network: its own, numbered where another one has that already."""
    taken = host.nics.filter(network=network).values_list("host_name", flat=True)
    return free_name(host_name_for(machine_name), taken)


def new_mac() -> str:
    """A random MAC of the range that qemu guests use."""
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))
