"""How a machine is reached: the addresses and names of its cards, and its published ports with what to type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_interface
from uuid import UUID

from django.utils.translation import gettext as _

from portal.fleet.models import Host
from portal.machines.address_locks import Lock, lock_of, words_of_lock
from portal.machines.guest import Guest
from portal.machines.models import Machine, Nic
from portal.networks.models import PublishedPort
from portal.networks.names import host_name_for
from portal.networks.selectors import words_of
from portal.networks.words import KindWords
from workers.contract.networks import NetworkKind, Protocol

SSH, HTTP, HTTPS, RDP = 22, 80, 443, 3389
_ENDING = "internal"


@dataclass(frozen=True)
class Reached:
    """A published port: where it is reached, and what to type for it."""

    id: UUID
    what: str
    protocol: str
    guest_port: int
    where: str
    typed: str
    is_link: bool


@dataclass(frozen=True)
class Card:
    """A network card as a page shows it."""

    nic: Nic
    words: KindWords
    dns_name: str
    given: tuple[str, ...]
    """In a bridged network: the addresses that it is known to have there."""
    ports: tuple[Reached, ...]

    @property
    def takes_ports(self) -> bool:
        """Ports of it can be published."""
        return self.nic.network.kind == NetworkKind.NAT and not self.nic.is_leaving

    @property
    def is_bridged(self) -> bool:
        """Its addresses are not ours to give."""
        return self.nic.network.kind == NetworkKind.BRIDGED

    @property
    def lock(self) -> Lock:
        """The addresses that it may use alone in a bridged network."""
        return lock_of(self.nic)

    @property
    def lock_words(self) -> str:
        """The same as a sentence."""
        return words_of_lock(self.lock)


def cards_of(machine: Machine, nics: Sequence[Nic], guest: Guest | None) -> list[Card]:
    """The machine's cards with their published ports. One query where some may have any."""
    ports: dict[UUID, list[PublishedPort]] = {}
    if any(nic.network.kind == NetworkKind.NAT for nic in nics):
        for port in PublishedPort.objects.filter(nic__in=list(nics)):
            ports.setdefault(port.nic_id, []).append(port)
    bridged = [nic for nic in nics if nic.network.kind == NetworkKind.BRIDGED]
    host = address_of(machine.host) if ports else ""
    cards = []
    for nic in nics:
        given = (nic.leased_address,) if nic.leased_address else ()
        if guest is not None and nic in bridged:
            # With one card there, every address that is not ours is of it.
            others = guest.others if bridged == [nic] else ()
            locked = [each for each in guest.addresses if each in (nic.address, nic.address6)]
            given = tuple(dict.fromkeys((*given, *locked, *others)))
        cards.append(
            Card(
                nic=nic,
                words=words_of(nic.network),
                dns_name=dns_name(nic),
                given=given,
                ports=tuple(_reached(machine, port, host) for port in ports.get(nic.pk, ())),
            )
        )
    return cards


def dns_name(nic: Nic) -> str:
    """The name under which its neighbours find it; empty where it has none."""
    if not nic.host_name or not nic.network.subnet:
        return ""
    return f"{nic.host_name}.{host_name_for(nic.network.name)}.{_ENDING}"


def address_of(host: Host) -> str:
    """Where the host is reached: the first address of its way to the internet, else its name."""
    facts = host.host_facts
    for card in facts.interfaces if facts else ():
        if not card.has_default_route:
            continue
        for address in card.addresses:
            try:
                found = ip_interface(address).ip
            except ValueError:
                continue
            if not found.is_link_local:
                return f"[{found}]" if found.version == 6 else str(found)
    return host.name


def ssh_line(machine: Machine, cards: Sequence[Card]) -> str:
    """How a cloud machine is signed in to: by its published port where it has one, else from beside it; empty for others."""
    if not machine.seed:
        return ""
    for card in cards:
        for port in card.ports:
            if (port.protocol, port.guest_port) == (Protocol.TCP, SSH):
                return port.typed
    found = next((each for card in cards for each in (card.nic.address, *card.given) if each), None)
    return f"ssh {machine.seed['user']}@{found}" if found else ""


def _reached(machine: Machine, port: PublishedPort, host: str) -> Reached:
    where = f"{host}:{port.host_port}"
    what, typed, is_link = "", where, False
    if port.protocol == Protocol.TCP:
        user = machine.seed["user"] if machine.seed else _("user")
        match port.guest_port:
            case 22:
                what, typed = "SSH", f"ssh -p {port.host_port} {user}@{host.strip('[]')}"
            case 80:
                what, typed, is_link = "HTTP", f"http://{where}", True
            case 443:
                what, typed, is_link = "HTTPS", f"https://{where}", True
            case 3389:
                what = _("Remote desktop")
    return Reached(port.pk, what, port.protocol, port.guest_port, where, typed, is_link)
