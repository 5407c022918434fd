"""What a real guest reaches, and what its neighbour cannot take from it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from uuid import uuid4

from tests.guest.build import guest_disc
from tests.lab import wishes
from tests.lab.broker import PortalsEar
from tests.lab.host import LabHost
from tests.lab.network import HOST_OUTSIDE, NAME, NAME_ADDRESS, OUTSIDE, PAGE
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


def test_a_neighbour_cannot_take_another_machines_address_or_mac(host: LabHost, ear: PortalsEar) -> None:
    honest = wishes.spec(number=10, disc=host.put_disc(uuid4(), guest_disc("neighbour", outside=OUTSIDE)))
    thief_disc = guest_disc(
        "thief", outside=OUTSIDE, victim=str(honest.nics[0].address), victim_mac=honest.nics[0].mac
    )
    thief = wishes.spec(number=11, name="thief", disc=host.put_disc(uuid4(), thief_disc))
    for machine in (honest, thief):
        wish = wishes.wish(machine)
        ear.ask(host.name, wish)
        assert ear.end_of(wish.operation_id).state is OperationState.DONE
    wait_for(
        "the honest one is through", lambda: host.said(honest.machine_id).get("alive") == "yes", seconds=60
    )
    host.heard(thief.machine_id, "ready", seconds=120)
    said = host.said(thief.machine_id)
    tried = ("honest", "stolen_address", "stolen_mac_and_address", "stolen_mac")
    assert {key: said[key] for key in tried} == {
        "honest": "yes", "stolen_address": "no", "stolen_mac_and_address": "no", "stolen_mac": "no",
    }  # fmt: skip
    assert "no" not in host.folder(honest.machine_id).console_log.read_text().split("alive yes", 1)[
        1
    ].replace("now", "")


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
