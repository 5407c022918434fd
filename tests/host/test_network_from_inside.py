"""What a real guest reaches, and what its neighbour cannot take from it."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from uuid import uuid4

import pytest

from tests.guest.build import guest_disc
from tests.lab import wishes
from tests.lab.broker import PortalsEar
from tests.lab.host import LabHost
from tests.lab.network import HOST_OUTSIDE, NAME, NAME_ADDRESS, OUTSIDE, PAGE
from tests.lab.standing import Standing, standing_host
from tests.lab.waiting import wait_for
from workers.contract.messages import Observed, OperationState
from workers.contract.networks import (
    Direction,
    FirewallRule,
    FirewallSpec,
    NetworkKind,
    NetworkSpec,
    NicSpec,
    Protocol,
    PublishedPort,
)
from workers.contract.spec import MachineSpec, Power, StopMode
from workers.plan.names import bridge_mac, bridge_name, tap_name

SIX = wishes.PRIVATE.model_copy(update={"subnet6": IPv6Network("fd57::/64")})
OFFER = "192.168.57.200"
"""What the thief's DHCP server gives to its neighbour."""


def test_a_guest_gets_its_address_and_reaches_bridge_internet_page_and_names(
    host: LabHost, ear: PortalsEar
) -> None:
    disc = guest_disc("network", outside=OUTSIDE, name=NAME, name_address=NAME_ADDRESS)
    machine = wishes.spec(disc=host.put_disc(uuid4(), disc))
    wish = wishes.wish(machine)
    ear.ask(host.name, wish)
    end = ear.end_of(wish.operation_id)
    assert end.state is OperationState.DONE, (end, host.words()[-3000:])

    host.heard(machine.machine_id, "ready")
    said = host.said(machine.machine_id)
    expected = {
        "address": "192.168.57.10", "ping_bridge": "yes", "ping_outside": "yes", "page": "yes", "page_text": PAGE,
        "name": "yes", "name_address": "right", "cpus": "1", "disks": "1",
    }  # fmt: skip
    assert {key: said.get(key) for key in expected} == expected
    seen = ear.observed(machine.machine_id, lambda m: m.nics[0].leased_address is not None)
    assert (seen.power, seen.nics[0].leased_address) == (Observed.RUNNING, "192.168.57.10")

    off = wishes.wish(wishes.later(machine, power=Power.OFF, stop_mode=StopMode.ASK))
    ear.ask(host.name, off)
    assert ear.end_of(off.operation_id).state is OperationState.DONE
    assert host.said(machine.machine_id)["button"] == "pressed"
    assert host.network.links() == set()
    assert "offshoot" not in host.network.rules()


@dataclass(frozen=True)
class Theft:
    """A network in which a thief has tried everything, and where its host found its neighbour meanwhile.

    `found` has the MACs to which it sent for each of the neighbour's addresses, and the taps to which for its MAC.
    """

    place: Standing
    honest: MachineSpec
    thief: MachineSpec
    found: frozenset[tuple[str, str]]

    def honest_said(self, key: str) -> list[str]:
        """All that the neighbour has said of this, once its network was up."""
        text = self.place.host.folder(self.honest.machine_id).console_log.read_text(errors="replace")
        up = text[text.index("alive yes") :]
        return re.findall(rf"OFFSHOOT {key} ([^\r\n]*)\r?\n", up)

    def tried(self, *keys: str) -> dict[str, str]:
        """What the thief has said of its attempts."""
        said = self.place.host.said(self.thief.machine_id)
        return {key: said[key] for key in keys}


@pytest.fixture(scope="module")
def theft() -> Iterator[Theft]:
    """Both machines are there for the whole file."""
    with standing_host(internet=True) as place:
        host, card, other = place.host, _card(10), _card(11)
        router6, bridge = str(SIX.gateway6), bridge_name(SIX.id)
        honest_disc = guest_disc("neighbour", outside=OUTSIDE, router6=router6, address6=str(card.address6))
        thief_disc = guest_disc(
            "thief", outside=OUTSIDE, router6=router6, address6=str(other.address6), offer=OFFER,
            victim=str(card.address), victim_mac=card.mac, victim6=str(card.address6),
        )  # fmt: skip
        honest, thief = (
            place.done(wishes.spec(name=name, nics=(nic,), disc=host.put_disc(uuid4(), disc)))
            for name, nic, disc in (("honest", card, honest_disc), ("thief", other, thief_disc))
        )
        found: set[tuple[str, str]] = set()

        def is_through() -> bool:
            for address in (str(card.address), str(card.address6)):
                entry = host.network.inside("ip", "neigh", "show", "to", address, "dev", bridge)
                found.update((address, mac) for mac in re.findall(r"lladdr (\S+)", entry))
            entries = host.network.inside("bridge", "fdb", "show", "br", bridge)
            found.update((card.mac, tap) for tap in re.findall(rf"{card.mac} dev (\S+)", entries))
            return "ready" in host.said(thief.machine_id)

        wait_for("the thief is through", is_through, seconds=150, pause=0.1)
        yield Theft(place, honest, thief, frozenset(found))


def _card(number: int) -> NicSpec:
    return NicSpec(
        network=SIX,
        mac=f"52:54:00:00:00:{number:02x}",
        address=IPv4Address(f"192.168.57.{number}"),
        address6=IPv6Address(f"fd57::{number:x}"),
    )


def test_a_neighbour_cannot_take_another_machines_address_or_mac(theft: Theft) -> None:
    tried = ("honest", "stolen_address", "stolen_mac_and_address", "stolen_mac", "honest_again")
    assert theft.tried(*tried) == {
        "honest": "yes", "stolen_address": "no", "stolen_mac_and_address": "no", "stolen_mac": "no", "honest_again": "yes",
    }  # fmt: skip
    assert set(theft.honest_said("alive")) == {"yes"}


def test_nor_its_ipv6_address_or_the_routers(theft: Theft) -> None:
    tried = ("honest6", "near6", "stolen_address6", "stolen_router6")
    assert theft.tried(*tried) == {
        "honest6": "yes", "near6": "yes", "stolen_address6": "no", "stolen_router6": "no",
    }  # fmt: skip
    assert set(theft.honest_said("alive6")) == {"yes"}


def test_what_a_thief_announces_reaches_neither_its_neighbour_nor_the_host(theft: Theft) -> None:
    """By ARP, by neighbour discovery and by a stolen MAC: nobody ever took its card for another's."""
    assert theft.tried("announced") == {"announced": "over"}
    [card] = theft.honest.nics
    itself = {(str(card.address), card.mac), (str(card.address6), card.mac), (card.mac, tap_name(card))}
    assert theft.found == itself
    for family in ("router_mac", "router_mac6"):
        assert set(theft.honest_said(family)) == {bridge_mac(SIX.id)}, family


def test_a_false_dhcp_server_is_heard_by_nobody_even_while_the_host_says_nothing(theft: Theft) -> None:
    assert theft.tried("dhcp") == {"dhcp": "serves"}
    [card] = theft.honest.nics
    honest_answer = f"{card.address} {SIX.gateway} {SIX.gateway}"
    # The host answers before any guest could: only in its silence another would be heard.
    [server] = theft.place.dnsmasqs()
    os.kill(server, signal.SIGSTOP)
    try:
        begun = len(theft.honest_said("told")) + 1  # the one that is being asked now may have been answered
        [told, *_] = wait_for("it asks anew", lambda: theft.honest_said("told")[begun:], seconds=60)
        assert told == "nothing"
    finally:
        os.kill(server, signal.SIGCONT)
    begun = len(theft.honest_said("told"))
    wait_for("the host answers", lambda: honest_answer in theft.honest_said("told")[begun:], seconds=60)
    assert set(theft.honest_said("told")) == {honest_answer, "nothing"}


def test_a_published_port_a_firewall_and_an_isolated_network(host: LabHost, ear: PortalsEar) -> None:
    ssh = FirewallRule(direction=Direction.IN, allow=True, protocol=Protocol.TCP, first_port=22, last_port=22)
    web = PublishedPort(protocol=Protocol.TCP, host_port=8080, guest_port=80)
    server = wishes.spec(number=10, name="server", disc=host.put_disc(uuid4(), guest_disc("server")))
    card = server.nics[0].model_copy(update={"ports": (web,)})
    firewall = FirewallSpec(allow_in=False, allow_out=True, rules=(ssh,))
    server = server.model_copy(update={"nics": (card,), "firewall": firewall})
    visitor_disc = host.put_disc(uuid4(), guest_disc("visitor", server=str(card.address)))
    visitor = wishes.spec(number=11, name="visitor", disc=visitor_disc)
    alone_disc = guest_disc("network", outside=OUTSIDE, name=NAME, name_address=NAME_ADDRESS)
    alone = wishes.spec(number=12, name="alone", disc=host.put_disc(uuid4(), alone_disc))
    nowhere = NetworkSpec(id=uuid4(), kind=NetworkKind.ISOLATED, subnet=IPv4Network("10.99.0.0/24"))
    alone_card = NicSpec(network=nowhere, mac=alone.nics[0].mac, address=IPv4Address("10.99.0.12"))
    alone = alone.model_copy(update={"nics": (alone_card,)})

    def start(machine: MachineSpec) -> None:
        wish = wishes.wish(machine)
        ear.ask(host.name, wish)
        end = ear.end_of(wish.operation_id)
        assert end.state is OperationState.DONE, (end, host.words()[-3000:])

    for machine in (server, alone):
        start(machine)
    host.heard(server.machine_id, "serving", seconds=120)
    start(visitor)
    host.heard(visitor.machine_id, "ready", seconds=120)
    said = host.said(visitor.machine_id)
    assert {key: said.get(key) for key in ("published", "allowed", "denied")} == {
        "published": "port 80", "allowed": "port 22", "denied": "",
    }  # fmt: skip
    ask = ("timeout", "10", "/bin/busybox", "nc", "-w", "5")
    # The guest listens anew after each answer: asked until it does.
    for place, run in (("the host itself", host.network.inside), ("the internet", host.network.run_outside)):
        wait_for(
            f"the published port from {place}",
            lambda run=run: run(*ask, HOST_OUTSIDE, "8080", check=False).strip() == "port 80",  # type: ignore[misc]
            seconds=30,
        )
    host.heard(alone.machine_id, "ready", seconds=120)
    said = host.said(alone.machine_id)
    tried = ("address", "ping_bridge", "ping_outside", "page")
    assert {key: said.get(key) for key in tried} == {
        "address": "10.99.0.12", "ping_bridge": "no", "ping_outside": "no", "page": "no",
    }  # fmt: skip
