"""Two hosts on one switch: bridges around their cards, machines of both in one flat segment, and nobody locked out."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from tests.guest.build import guest_disc
from tests.lab import wishes
from tests.lab.host import LabHost
from tests.lab.switch import Switch
from tests.lab.switched import BRIDGE, CARD, GUESTS, Switched, bare, confirmed, hosts_on_a_switch, layout
from tests.lab.waiting import wait_for
from workers.contract.errors import ErrorCode
from workers.contract.jobs import MakeBridge, RemoveBridge
from workers.contract.messages import DoJob, OperationState
from workers.contract.networks import NetworkKind, NetworkSpec
from workers.contract.spec import MachineSpec, NicSpec, Power, StopMode
from workers.killpoints import UPLINK_POINTS

SEGMENT = NetworkSpec(
    id=UUID("b1f2c9e7-7a34-4c1d-9a55-0a1b2c3d4e5f"), kind=NetworkKind.BRIDGED, bridge=BRIDGE
)


@pytest.fixture(scope="module")
def pair() -> Iterator[Switched]:
    with hosts_on_a_switch(2) as lab:
        yield lab


@pytest.fixture(scope="module")
def lone() -> Iterator[Switched]:
    with hosts_on_a_switch(1) as lab:
        yield lab


def _machine(mac: str, other: str, host: LabHost) -> MachineSpec:
    disc = guest_disc("segment", neighbour=Switch.NEIGHBOUR, other=other)
    nic = NicSpec(network=SEGMENT, mac=mac)
    return wishes.spec(name="box", nics=(nic,), disc=host.put_disc(uuid4(), disc), memory_mib=256)


def test_machines_of_two_hosts_and_a_neighbour_are_in_one_flat_segment(pair: Switched) -> None:
    before = [layout(host, CARD) for host in pair.hosts]
    missing = wishes.wish(_machine(next(iter(GUESTS)), "198.51.100.1", pair.hosts[0]))
    pair.ear.ask(pair.hosts[0].name, missing)
    end = pair.ear.end_of(missing.operation_id)
    assert end.error is not None
    assert end.error.code is ErrorCode.BRIDGE_MISSING
    assert pair.hosts[0].network.links() == set()

    for host, was in zip(pair.hosts, before, strict=True):
        assert len(was["addresses"]) == 2
        pair.done(host, MakeBridge(interface=CARD))
        assert layout(host, BRIDGE) == was
        assert layout(host, CARD) == {"addresses": [], "routes": []}
        pair.done(host, MakeBridge(interface=CARD))  # twice is once
        since = pair.ear.heartbeat(host.name).sequence
        facts = {each.name: each for each in pair.ear.heartbeat(host.name, since=since).facts.interfaces}
        assert (facts[BRIDGE].is_ours, facts[BRIDGE].ports, facts[CARD].bridge) == (True, (CARD,), BRIDGE)
        assert facts[BRIDGE].has_default_route

    machines = []
    for host, mac, other in zip(pair.hosts, GUESTS, reversed(GUESTS.values()), strict=True):
        machine = _machine(mac, other, host)
        wish = wishes.wish(machine)
        pair.ear.ask(host.name, wish)
        assert pair.ear.end_of(wish.operation_id).state is OperationState.DONE, host.words()[-3000:]
        machines.append(machine)
    for host, machine, address in zip(pair.hosts, machines, GUESTS.values(), strict=True):
        host.heard(machine.machine_id, "ready", seconds=120)
        said = host.said(machine.machine_id)
        assert {key: said.get(key) for key in ("address", "ping_neighbour", "ping_other")} == {
            "address": address, "ping_neighbour": "yes", "ping_other": "yes",
        }  # fmt: skip
        assert pair.switch.reaches(address)
        assert "plugged into" in pair.refused(host, RemoveBridge(bridge=BRIDGE))

    for host, machine, was in zip(pair.hosts, machines, before, strict=True):
        gone = wishes.wish(wishes.later(machine, power=Power.GONE, stop_mode=StopMode.FORCE))
        pair.ear.ask(host.name, gone)
        assert pair.ear.end_of(gone.operation_id).state is OperationState.DONE
        assert host.network.links() == set()
        pair.done(host, RemoveBridge(bridge=BRIDGE))
        assert bare(host, was)
        pair.done(host, RemoveBridge(bridge=BRIDGE))


def test_a_bridge_with_which_the_broker_is_out_of_reach_is_taken_back(lone: Switched) -> None:
    [host] = lone.hosts
    before = layout(host, CARD)
    host.network.inside(
        "nft", "add table inet cut; add chain inet cut out { type filter hook output priority 0; }"
    )
    host.network.inside("nft", "add", "rule", "inet", "cut", "out", "oifname", BRIDGE, "drop")
    end = lone.do(host, MakeBridge(interface=CARD))
    host.network.inside("nft", "delete", "table", "inet", "cut")
    assert end.error is not None
    assert end.error.code is ErrorCode.BRIDGE_TAKEN_BACK, end
    assert "the broker" in end.error.detail
    assert bare(host, before)


def test_a_bridge_that_reached_the_broker_at_first_and_then_no_more_is_taken_back(lone: Switched) -> None:
    [host] = lone.hosts
    before = layout(host, CARD)
    job = DoJob(operation_id=uuid4(), job=MakeBridge(interface=CARD))
    lone.ear.ask_job(host.name, job)
    wait_for("the bridge is there", lambda: layout(host, BRIDGE) == before, seconds=20)
    wait_for("the host is reached by it", lambda: lone.switch.reaches("198.51.100.11"), seconds=20)
    host.network.inside(
        "nft", "add table inet cut; add chain inet cut out { type filter hook output priority 0; }"
    )
    host.network.inside("nft", "add", "rule", "inet", "cut", "out", "oifname", BRIDGE, "drop")
    end = lone.ear.end_of(job.operation_id, seconds=60)
    host.network.inside("nft", "delete", "table", "inet", "cut")
    assert end.error is not None
    assert end.error.code is ErrorCode.BRIDGE_TAKEN_BACK, end
    assert bare(host, before)


@pytest.mark.parametrize("point", UPLINK_POINTS)
def test_a_worker_killed_while_it_makes_a_bridge_leaves_the_card_as_it_was(
    lone: Switched, point: str
) -> None:
    [host] = lone.hosts
    before = layout(host, CARD)
    host.kill()
    host.set(OFFSHOOT_DIE_AT=point)
    host.start()
    lone.ear.ask_job(host.name, DoJob(operation_id=uuid4(), job=MakeBridge(interface=CARD)))
    host.wait_for_death()
    host.set(OFFSHOOT_DIE_AT="")
    if point == "bridge changed":  # nobody starts the worker again: the guard sees to it
        wait_for("the guard has undone it", lambda: bare(host, before), seconds=20)
        assert lone.switch.reaches("198.51.100.11")
    host.start()
    wait_for("the card is as it was", lambda: bare(host, before), seconds=20)
    wait_for("nothing is left", lambda: not list(host.state.uplinks.glob("**/*.json")), seconds=10)


def test_a_bridge_that_is_gone_is_made_again_and_one_killed_while_it_goes_stays(lone: Switched) -> None:
    [host] = lone.hosts
    before = layout(host, CARD)
    lone.done(host, MakeBridge(interface=CARD))
    host.network.inside("ip", "link", "del", BRIDGE)
    wait_for("it is there again, with its addresses", lambda: layout(host, BRIDGE) == before, seconds=20)
    confirmed(host)

    host.kill()
    # After a reboot the card is as the host's own configuration makes it, and no bridge is there.
    host.network.inside("ip", "link", "del", BRIDGE)
    record = host.state.uplinks / f"{BRIDGE}.json"
    record.write_text(record.read_text().replace('"boot":"', '"boot":"another '))
    host.start()
    host.network.inside("sysctl", "-q", "-w", f"net.ipv6.conf.{CARD}.disable_ipv6=0")
    for address in before["addresses"]:
        host.network.inside("ip", "addr", "add", address, "dev", CARD)
    host.network.inside("ip", "route", "add", "default", "via", Switch.NEIGHBOUR, "metric", "70")
    host.network.inside("ip", "-6", "route", "add", "default", "via", "2001:db8:7::ff", "metric", "80")
    wait_for("made again", lambda: layout(host, BRIDGE).get("addresses") == before["addresses"], seconds=20)
    confirmed(host)

    host.kill()
    host.set(OFFSHOOT_DIE_AT="bridge changed")
    host.start()
    lone.ear.ask_job(host.name, DoJob(operation_id=uuid4(), job=RemoveBridge(bridge=BRIDGE)))
    host.wait_for_death()
    host.set(OFFSHOOT_DIE_AT="")
    host.start()
    wait_for(
        "it is there again", lambda: layout(host, BRIDGE).get("addresses") == before["addresses"], seconds=20
    )
    confirmed(host)
    assert layout(host, CARD)["addresses"] == []
    assert any(route.startswith("default via 198") for route in layout(host, BRIDGE)["routes"])
    lone.done(host, RemoveBridge(bridge=BRIDGE))
    assert layout(host, CARD)["addresses"] == before["addresses"]


def test_what_cannot_get_a_bridge_is_refused_with_a_sentence(lone: Switched) -> None:
    [host] = lone.hosts
    inside = host.network.inside
    inside("ip", "link", "add", "own0", "type", "bridge")
    inside("ip", "link", "add", "port0", "type", "veth", "peer", "port1")
    inside("ip", "link", "set", "port0", "master", "own0")
    inside("ip", "tuntap", "add", "tap7", "mode", "tap")
    refusals = {
        name: lone.refused(host, MakeBridge(interface=name))
        for name in ("lo", "own0", "port0", "tap7", "eth9")
    }
    assert "no network card" in refusals["lo"]
    assert "a bridge itself" in refusals["own0"]
    assert "a part of own0" in refusals["port0"]
    assert "virtual" in refusals["tap7"]
    assert "no card eth9" in refusals["eth9"]
    assert "was not made by Offshoot" in lone.refused(host, RemoveBridge(bridge="own0"))
    wait_for(
        "the host tells of its cards and bridges",
        lambda: (
            {"own0", "port0", "port1", CARD}
            == {each.name for each in lone.ear.heartbeat(host.name).facts.interfaces}
        ),
        seconds=20,
    )
    for link in ("own0", "port0", "tap7"):
        inside("ip", "link", "del", link)
