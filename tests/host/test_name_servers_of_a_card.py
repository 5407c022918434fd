"""A host whose name servers systemd-resolved has for its card alone: they move with the card's addresses, and come back."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.lab.host import LabHost
from tests.lab.resolved import Resolved
from tests.lab.switch import Switch
from tests.lab.switched import (
    BRIDGE,
    CARD,
    HOST_ADDRESS,
    Switched,
    bare,
    confirmed,
    hosts_on_a_switch,
    layout,
)
from tests.lab.waiting import wait_for
from workers.contract.errors import ErrorCode
from workers.contract.jobs import MakeBridge, RemoveBridge
from workers.contract.messages import DoJob
from workers.killpoints import UPLINK_POINTS

NAME = f"mirror.{Switch.NAME}"
OF_THE_CARD = {"servers": [Switch.NEIGHBOUR], "domains": [Switch.NAME, "example"]}


@pytest.fixture(scope="module")
def lab() -> Iterator[Switched]:
    with hosts_on_a_switch(1, resolved=True) as lab:
        yield lab


@pytest.fixture(scope="module")
def leased() -> Iterator[Switched]:
    with hosts_on_a_switch(1, by_dhcp=True) as lab:
        yield lab


def parts(lab: Switched) -> tuple[LabHost, Resolved]:
    """The host, and whom it asks for names."""
    assert lab.resolved is not None
    return lab.hosts[0], lab.resolved


def test_name_servers_of_a_card_are_its_bridges_and_the_cards_again_without_it(lab: Switched) -> None:
    host, resolved = parts(lab)
    before = layout(host, CARD)
    lab.done(host, MakeBridge(interface=CARD))  # which reaches its broker by a new connection, by name
    assert resolved.of(BRIDGE) == OF_THE_CARD
    assert resolved.knows(NAME)
    resolved.tell("domain", BRIDGE, Switch.NAME)  # the host's administrator changes it meanwhile
    lab.done(host, RemoveBridge(bridge=BRIDGE))
    assert bare(host, before)
    assert resolved.of(CARD) == OF_THE_CARD | {"domains": [Switch.NAME]}
    assert resolved.knows(NAME)
    resolved.tell("domain", CARD, Switch.NAME, "~example")


@pytest.mark.parametrize("point", UPLINK_POINTS)
def test_a_worker_killed_while_it_makes_a_bridge_leaves_a_host_that_knows_names(
    lab: Switched, point: str
) -> None:
    host, resolved = parts(lab)
    before = layout(host, CARD)
    with host.dies_at(point):
        lab.ear.ask_job(host.name, DoJob(operation_id=uuid4(), job=MakeBridge(interface=CARD)))
    wait_for("the card is as it was", lambda: bare(host, before), seconds=20)
    confirmed(host)
    assert resolved.of(CARD) == OF_THE_CARD
    assert resolved.knows(NAME)


def test_a_bridge_that_loses_the_name_servers_is_taken_back(lab: Switched) -> None:
    host, resolved = parts(lab)
    before = layout(host, CARD)
    job = DoJob(operation_id=uuid4(), job=MakeBridge(interface=CARD))
    lab.ear.ask_job(host.name, job)
    wait_for("the bridge is there", lambda: layout(host, BRIDGE) == before, seconds=20)
    wait_for("and has them", lambda: resolved.of(BRIDGE) == OF_THE_CARD, seconds=20)
    resolved.tell("revert", BRIDGE)  # as a program would that thinks the bridge is its own
    end = lab.ear.end_of(job.operation_id, seconds=60)
    assert end.error is not None
    assert end.error.code is ErrorCode.BRIDGE_TAKEN_BACK, end
    assert "its name servers" in end.error.detail
    assert bare(host, before)
    assert resolved.knows(NAME)


def test_after_a_reboot_the_bridge_waits_for_its_cards_name_servers(lab: Switched) -> None:
    host, resolved = parts(lab)
    before = layout(host, CARD)
    lab.done(host, MakeBridge(interface=CARD))
    host.kill()
    record = host.state.uplinks / f"{BRIDGE}.json"
    record.write_text(record.read_text().replace('"boot":"', '"boot":"another '))
    host.network.inside("ip", "link", "del", BRIDGE)
    host.network.inside("sysctl", "-q", "-w", f"net.ipv6.conf.{CARD}.disable_ipv6=0")
    resolved.tell("revert", CARD)
    for address in before["addresses"]:
        host.network.inside("ip", "addr", "add", address, "dev", CARD)
    for route in before["routes"]:
        host.network.inside(
            "ip", *(["-6"] if ":" in route else []), "route", "replace", *route.split(), "dev", CARD
        )
    host.start()
    wait_for("it waits", lambda: "wait for what their cards had" in host.words(), seconds=60)
    resolved.tell("dns", CARD, Switch.NEIGHBOUR)
    resolved.tell("domain", CARD, Switch.NAME, "~example")
    wait_for("made again", lambda: layout(host, BRIDGE) == before, seconds=20)
    confirmed(host)
    assert resolved.of(BRIDGE) == OF_THE_CARD
    lab.done(host, RemoveBridge(bridge=BRIDGE))


def test_where_systemd_resolved_is_stopped_the_rest_moves(lab: Switched) -> None:
    host, resolved = parts(lab)
    before = layout(host, CARD)
    resolved.stop_resolver()
    host.kill()
    host.set(OFFSHOOT_BROKER_URL=lab.broker.tcp_url)
    host.start()
    lab.done(host, MakeBridge(interface=CARD))
    assert layout(host, BRIDGE) == before
    lab.done(host, RemoveBridge(bridge=BRIDGE))
    assert bare(host, before)
    resolved.start_resolver()
    assert resolved.of(CARD) == OF_THE_CARD


def test_where_systemd_resolved_does_not_answer_nothing_is_changed_and_it_is_said(lab: Switched) -> None:
    host, resolved = parts(lab)
    before = layout(host, CARD)
    with resolved.hanging():
        assert "systemd-resolved did not say" in lab.refused(host, MakeBridge(interface=CARD))
    assert bare(host, before)
    assert resolved.knows(NAME)


def test_a_host_that_has_all_by_dhcp_keeps_its_address_way_out_and_names(leased: Switched) -> None:
    host, resolved = parts(leased)
    before = layout(host, CARD)
    assert before["addresses"] == [f"{HOST_ADDRESS}/24"]
    [card] = (each for each in leased.ear.heartbeat(host.name).facts.interfaces if each.name == CARD)
    assert card.is_leased
    leased.done(host, MakeBridge(interface=CARD))
    assert layout(host, BRIDGE) == before
    assert resolved.of(BRIDGE)["servers"] == [Switch.NEIGHBOUR]
    assert resolved.knows(NAME)
    leased.done(host, RemoveBridge(bridge=BRIDGE))
    # systemd-networkd asks anew at the card, sees to its name servers, and lets nobody else.
    wait_for("leased again", lambda: "dynamic" in host.network.inside("ip", "addr", "show", CARD), seconds=20)
    after = layout(host, CARD)
    assert after["addresses"] == before["addresses"]
    assert any(route.startswith(f"default via {Switch.NEIGHBOUR}") for route in after["routes"])
    assert not layout(host, BRIDGE)
    assert resolved.of(CARD)["servers"] == [Switch.NEIGHBOUR]
    assert resolved.knows(NAME)
