"""Locking a card in a bridged network to its address, so that its machine cannot pose as another one there.

In a network of ours each card has its address from the portal. In a bridged one the neighbours' DHCP gives it, so any
source address with the card's MAC passes, until an administrator says which one it is. The card's row then has that address.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_interface
from uuid import UUID

import structlog
from django.db import transaction
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.audit.actions import Action
from portal.audit.services import of_machine, record
from portal.machines.asking import change, changeable
from portal.machines.models import Machine, Nic
from portal.networks.models import Network
from portal.networks.services import network_plugged
from portal.refusal import Refused
from workers.contract.errors import MessageError
from workers.contract.messages import ApplyMachine, OperationState
from workers.contract.networks import NetworkKind, NicSpec
from workers.contract.spec import MachineSpec
from workers.contract.version import from_wire

log = structlog.get_logger()


@dataclass(frozen=True)
class Lock:
    """The addresses that a card may use alone, as its row has them; None: any address of that family."""

    address: str | None = None
    address6: str | None = None

    def __bool__(self) -> bool:
        """Whether it holds anything."""
        return bool(self.address or self.address6)


def card_lock(
    *, machine: Machine, nic_id: UUID, address: IPv4Address | None, address6: IPv6Address | None, by: User
) -> Operation:
    """The card may use these addresses alone, also while the machine runs; None: any one of that family. Raises Refused."""
    if address is None and address6 is None:
        raise Refused(_("Give an IPv4 address, an IPv6 address, or both."), "address")
    wanted = Lock(str(address) if address else None, str(address6) if address6 else None)
    with transaction.atomic():
        row = changeable(machine)
        nic = _bridged(row, nic_id)
        network = network_plugged(nic.network)  # so that no two are locked to the same address
        if wanted == lock_of(nic):
            raise Refused(_("That is so already. Nothing was changed."))
        _refuse_taken(nic, wanted)
        _refuse_the_networks_own(network, address, address6)
        Nic.objects.filter(pk=nic.pk).update(address=wanted.address, address6=wanted.address6)
        _tell(Action.ADDRESS_LOCKED, row, nic, wanted, by)
        return change(row, Kind.CHANGE, by)


def card_unlock(*, machine: Machine, nic_id: UUID, by: User) -> Operation:
    """It may use any address again. Raises Refused."""
    with transaction.atomic():
        row = changeable(machine)
        nic = _bridged(row, nic_id)
        before = lock_of(nic)
        if not before:
            raise Refused(_("The card is not locked to an address. Nothing was changed."))
        Nic.objects.filter(pk=nic.pk).update(address=None, address6=None)
        _tell(Action.ADDRESS_UNLOCKED, row, nic, before, by)
        return change(row, Kind.CHANGE, by)


def tell_of_lost_lock(row: Machine, nic: Nic, by: User) -> None:
    """The card is being removed, and with it the lock that it may have: a line of the activity."""
    if lock := lock_of(nic):
        _tell(Action.ADDRESS_UNLOCKED, row, nic, lock, by, because="the card is removed")


def lock_of(nic: Nic | NicSpec) -> Lock:
    """What the card is locked to; nothing where its network gives it the addresses that it has."""
    if nic.network.kind != NetworkKind.BRIDGED:
        return Lock()
    return Lock(str(nic.address) if nic.address else None, str(nic.address6) if nic.address6 else None)


def words_of_lock(lock: Lock) -> str:
    """What the card may use, as a sentence."""
    numbers = {"address": lock.address, "address6": lock.address6}
    if lock.address and lock.address6:
        return _("May use the addresses %(address)s and %(address6)s alone") % numbers
    if lock.address:
        return _("May use the address %(address)s alone, and any IPv6 address") % numbers
    if lock.address6:
        return _("May use the address %(address6)s alone, and any IPv4 address") % numbers
    return _("May use any address")


def lock_last_held(machine: Machine, then: NicSpec) -> Lock:
    """The lock of a card that comes back with a snapshot: the last one that it had, whatever it had when that was taken.

    So going back opens nothing, also where the card was removed meanwhile. Reads what was asked of the host, newest first.
    """
    asked = machine.operations.exclude(state=OperationState.FAILED).order_by("-generation")
    for operation in asked.iterator(chunk_size=20):
        try:
            spec = from_wire(ApplyMachine, operation.message).spec
        except MessageError:  # of another contract
            continue
        for nic in spec.nics:
            if (nic.mac, nic.network.id) == (then.mac, then.network.id):
                return lock_of(nic)
    return lock_of(then)


def holder_of(lock: Lock, network: Network, *, but: Iterable[UUID] = ()) -> tuple[Nic, str] | None:
    """The card in the network that has one of these addresses, and which one it is, as the field says; None where nobody has."""
    others = Nic.objects.filter(network=network).exclude(pk__in=list(but)).select_related("machine")
    for field, address in (("address", lock.address), ("address6", lock.address6)):
        found = others.filter(**{field: address}).first() if address else None
        if found is not None:
            return found, field
    return None


def take_locks_back(machine: Machine, spec: MachineSpec, failed: MachineSpec) -> None:
    """The locks that a failed change set or took away are again as they were before, where nobody has the address now."""
    there = {nic.mac: lock_of(nic) for nic in failed.nics}
    changed = [nic for nic in spec.nics if nic.mac in there and there[nic.mac] != lock_of(nic)]
    for nic in sorted(changed, key=lambda nic: nic.network.id):
        row = machine.nics.select_related("network").filter(mac=nic.mac, network=nic.network.id).first()
        if row is None:
            continue
        network_plugged(row.network)
        lock = lock_of(nic)
        if holder_of(lock, row.network, but=[row.pk]) is not None:
            log.warning("lock not taken back", machine=str(machine.pk), mac=nic.mac)
            continue
        Nic.objects.filter(pk=row.pk).update(address=lock.address, address6=lock.address6)


def _bridged(row: Machine, nic_id: UUID) -> Nic:
    nic = row.nics.select_related("network").filter(pk=nic_id, is_leaving=False).first()
    if nic is None:
        raise Refused(_("The machine has no such network card any more."))
    if nic.network.kind != NetworkKind.BRIDGED:
        words = _("In “%(name)s” each card may use its own addresses alone as it is. Nothing was changed.")
        raise Refused(words % {"name": nic.network.name})
    return nic


def _refuse_taken(nic: Nic, wanted: Lock) -> None:
    found = holder_of(wanted, nic.network, but=[nic.pk])
    if found is None:
        return
    other, field = found
    words = _("A card of the machine “%(name)s” is locked to this address already. Nothing was changed.")
    raise Refused(words % {"name": other.machine.name}, field)


def _refuse_the_networks_own(
    network: Network, address: IPv4Address | None, address6: IPv6Address | None
) -> None:
    """Raises Refused for what belongs to the hosts that are connected, or to the range that their bridges are in."""
    wanted = {"address": address, "address6": address6}
    for uplink in network.uplinks.select_related("host"):
        facts = uplink.host.host_facts
        for card in facts.interfaces if facts else ():
            for raw in card.addresses:
                for field, its in wanted.items():
                    if its is not None:
                        _refuse_own(raw, its, field, host=uplink.host.name, here=card.name == uplink.bridge)


def _refuse_own(raw: str, wanted: IPv4Address | IPv6Address, field: str, *, host: str, here: bool) -> None:
    try:
        found = ip_interface(raw)
    except ValueError:
        return
    if found.ip == wanted:
        words = _("That is the address of the host %(host)s itself. Nothing was changed.")
        raise Refused(words % {"host": host}, field)
    subnet = found.network
    if not here or not isinstance(subnet, IPv4Network) or subnet.prefixlen > 30:
        return
    if wanted in (subnet.network_address, subnet.broadcast_address):
        words = _(
            "In the range %(range)s that is the address of all (broadcast) or of the range itself, and no machine's."
        )
        raise Refused(words % {"range": subnet}, field)


def _tell(action: Action, row: Machine, nic: Nic, lock: Lock, by: User, *, because: str = "") -> None:
    told = {
        "card": nic.position + 1,
        "network": nic.network.name,
        "address": lock.address,
        "address6": lock.address6,
        "because": because,
    }
    record(action, by=by, about=of_machine(row), details=told)
