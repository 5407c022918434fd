"""Networks of every kind that a host makes itself, seen from inside guests; and the check that puts them right."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.guest.build import CLOUD, WITH_IPV6, Kernel, guest_disc
from tests.lab import wishes
from tests.lab.network import HOST_OUTSIDE, HOST_OUTSIDE6, NAME, NAME_ADDRESS, OUTSIDE, OUTSIDE6
from tests.lab.obstacles import broken_program
from tests.lab.standing import Standing, standing_host
from tests.lab.waiting import wait_for
from workers.contract.errors import ErrorCode
from workers.contract.messages import Step
from workers.contract.networks import FirewallSpec, NetworkKind, NetworkSpec, Protocol, PublishedPort
from workers.contract.spec import MachineSpec, NicSpec
from workers.plan.names import bridge_name, tap_name

LAB = NetworkSpec(
    id=UUID("5b1f2c9e-7a34-4c1d-9a55-0a1b2c3d4e60"),
    subnet=IPv4Network("192.168.57.0/24"),
    subnet6=IPv6Network("fd57::/64"),
    domain="lab",
)
QUIET = NetworkSpec(
    id=UUID("7c1f2c9e-7a34-4c1d-9a55-0a1b2c3d4e61"),
    kind=NetworkKind.ISOLATED,
    subnet=IPv4Network("192.168.58.0/24"),
    subnet6=IPv6Network("fd58::/64"),
    domain="quiet",
)
_AT_INPUT = "type filter hook input priority filter;"
ROUTED = NetworkSpec(
    id=UUID("9d1f2c9e-7a34-4c1d-9a55-0a1b2c3d4e62"),
    subnet=IPv4Network("192.168.59.0/24"),
    subnet6=IPv6Network("2001:db8:59::/64"),
    routed6=True,
)


@pytest.fixture(scope="module")
def place() -> Iterator[Standing]:
    """One host for the whole file."""
    with standing_host(internet=True, OFFSHOOT_NETWORK_CHECK_SECONDS="1") as place:
        wait_for("a router has told the host its way out", place.host.network.default6)
        yield place


def _card(network: NetworkSpec, number: int, name: str) -> NicSpec:
    assert network.subnet is not None
    return NicSpec(
        network=network,
        mac=f"52:54:00:00:{network.subnet[0].packed[2]:02x}:{number:02x}",
        address=IPv4Address(network.subnet[number]),
        address6=IPv6Address(network.subnet6[number]) if network.subnet6 else None,
        host_name=name,
    )


def _guest(place: Standing, nic: NicSpec, *, kernel: Kernel = CLOUD, **words: str) -> MachineSpec:
    """A running machine whose guest looks around as `words` say."""
    disc = place.host.put_disc(uuid4(), guest_disc("probe", kernel=kernel, **words))
    return place.done(wishes.spec(name=nic.host_name, nics=(nic,), disc=disc, memory_mib=192))


@pytest.fixture(scope="module")
def booted(place: Standing) -> tuple[MachineSpec, dict[str, str]]:
    """A machine that looks around in the lab again and again, and what it said first; `db` beside it asks for no address."""
    place.done(wishes.spec(name="db", nics=(_card(LAB, 11, "db"),), memory_mib=64))
    names = "a:db,aaaa:db,a:db.lab.internal,a:db.quiet.internal,a:www.lab.internal,a:web.lab.internal"
    machine = _guest(
        place,
        _card(LAB, 10, "web"),
        kernel=WITH_IPV6,
        again="yes",
        ping=f"{OUTSIDE},{OUTSIDE6},fd57::1",
        fetch=OUTSIDE,
        look=f"{names},ptr:11.57.168.192.in-addr.arpa,a:{NAME}",
    )
    place.host.heard(machine.machine_id, "first_round", seconds=120)
    return machine, place.host.said(machine.machine_id)


@pytest.fixture(scope="module")
def web(booted: tuple[MachineSpec, dict[str, str]]) -> MachineSpec:
    """That machine."""
    return booted[0]


@pytest.fixture(scope="module")
def quiet(place: Standing) -> MachineSpec:
    """A machine in a network with no way out, and a neighbour of its there."""
    machine = _guest(
        place,
        _card(QUIET, 10, "still"),
        kernel=WITH_IPV6,
        again="yes",
        ping=f"{OUTSIDE},{OUTSIDE6},192.168.57.10,192.168.58.11,fd58::b",
        look=f"a:mouse.quiet.internal,a:db.lab.internal,a:{NAME}",
    )
    _guest(place, _card(QUIET, 11, "mouse"), kernel=WITH_IPV6)
    return machine


def _says(
    place: Standing, machine: MachineSpec, key: str, fits: Callable[[str], bool], *, seconds: float = 60
) -> None:
    """The guest says from now on what fits, in a round that begins after this call."""
    said = place.host.said
    seen = int(said(machine.machine_id).get("round", "0"))

    def now() -> bool:
        words = said(machine.machine_id)
        return int(words.get("round", "0")) >= seen + 2 and fits(words.get(key, ""))

    try:
        wait_for(f"{machine.name} says what fits of {key}", now, seconds=seconds)
    except AssertionError as exc:
        raise AssertionError(f"{exc}: {said(machine.machine_id)}; {place.host.words()[-3000:]}") from exc


def test_a_guest_has_both_addresses_reaches_out_by_both_and_finds_its_neighbours_by_name(
    place: Standing, booted: tuple[MachineSpec, dict[str, str]]
) -> None:
    _, said = booted
    assert said["address"] == "192.168.57.10"
    assert said["address6"].startswith("fd57::a/"), said["address6"]
    assert "via fe80::" in said["router6"]
    reached = {f"ping_{OUTSIDE}": "yes", f"ping_{OUTSIDE6}": "yes", "ping_fd57::1": "yes"}
    assert {key: said.get(key) for key in reached} == reached
    assert "192.168.57.11" in said["look_a:db"]
    assert "fd57::b" in said["look_aaaa:db"]
    assert "192.168.57.11" in said["look_a:db.lab.internal"]
    assert "db.lab.internal" in said["look_ptr:11.57.168.192.in-addr.arpa"]
    assert NAME_ADDRESS in said[f"look_a:{NAME}"]
    assert "192.168.58." not in said["look_a:db.quiet.internal"]
    assert f"{bridge_name(LAB.id)}" in place.host.network.inside("ip", "-6", "route", "show", "fd57::/64")


def test_the_host_keeps_the_way_out_that_a_router_told_it_while_it_forwards(
    place: Standing, web: MachineSpec
) -> None:
    network = place.host.network
    assert network.setting("ipv6/conf/all/forwarding") == "1"
    assert network.setting(f"ipv6/conf/{network.card}/accept_ra") == "2"
    assert "proto ra" in network.default6()
    assert web.nics[0].network.subnet6 is not None


def test_a_machine_in_an_isolated_network_reaches_its_neighbour_and_nobody_else(
    place: Standing, quiet: MachineSpec
) -> None:
    _says(place, quiet, "ping_192.168.58.11", lambda words: words == "yes", seconds=120)
    _says(place, quiet, "ping_fd58::b", lambda words: words == "yes")
    said = place.host.said(quiet.machine_id)
    assert said["address6"].startswith("fd58::a/")
    assert said["router6"] == ""
    assert "default" not in said["routes"]
    assert "192.168.58.11" in said["look_a:mouse.quiet.internal"]
    for other in (OUTSIDE, OUTSIDE6, "192.168.57.10"):
        assert said[f"ping_{other}"] == "no", other
    assert "192.168.57." not in said["look_a:db.lab.internal"]
    assert NAME_ADDRESS not in said[f"look_a:{NAME}"]


def test_routed_addresses_are_the_guests_own_outside_and_a_published_port_is_reached_by_both_families(
    place: Standing,
) -> None:
    network, own = place.host.network, "2001:db8:59::a"
    network.run_outside("ip", "-6", "route", "add", str(ROUTED.subnet6), "via", HOST_OUTSIDE6)
    network.run_outside(
        "nft", f"add table ip6 seen {{ chain heard {{ {_AT_INPUT} ip6 saddr {own} counter; }}; }}"
    )
    web = PublishedPort(protocol=Protocol.TCP, host_port=8080, guest_port=80)
    card = _card(ROUTED, 10, "open").model_copy(update={"ports": (web,)})
    machine = _guest(place, card, kernel=WITH_IPV6, again="yes", ping=OUTSIDE6, serve="80,81")
    _says(place, machine, f"ping_{OUTSIDE6}", lambda words: words == "yes", seconds=120)
    assert place.host.said(machine.machine_id)["address6"].startswith(f"{own}/")
    assert "packets 0 " not in network.run_outside("nft", "list", "chain", "ip6", "seen", "heard")

    def answers(run: Callable[..., str], address: str, port: str) -> bool:
        ask = ("timeout", "5", "/bin/busybox", "nc", "-w", "3", address, port)
        return run(*ask, check=False).strip() in ("port 80", "port 81")

    # The guest listens anew after each answer: asked until it does.
    for run, address, port in (
        (network.run_outside, own, "81"),
        (network.run_outside, HOST_OUTSIDE6, "8080"),
        (network.run_outside, HOST_OUTSIDE, "8080"),
        (network.inside, HOST_OUTSIDE6, "8080"),
    ):
        wait_for(f"{address} {port}", lambda r=run, a=address, p=port: answers(r, a, p), seconds=30)  # type: ignore[misc]

    place.done(machine := wishes.later(machine, firewall=FirewallSpec(allow_in=False, allow_out=True)))
    _says(place, machine, f"ping_{OUTSIDE6}", lambda words: words == "yes")  # by then the guest listens anew
    assert not answers(network.run_outside, own, "81")
    wait_for("what is published", lambda: answers(network.run_outside, HOST_OUTSIDE6, "8080"), seconds=30)
    place.delete(machine)


def test_a_running_machines_name_changes_and_a_worker_killed_meanwhile_does_it_all_the_same(
    place: Standing, web: MachineSpec
) -> None:
    [qemu] = [pid for pid in place.host.qemus() if str(web.machine_id).encode() in _arguments(pid)]
    newest = web
    for name, point in (("www", ""), ("web", "wiring changed")):
        newest = wishes.later(newest, nics=(_card(LAB, 10, name),))
        wish = wishes.wish(newest)
        with place.host.dies_at(point) if point else nullcontext():
            place.ear.ask(place.host.name, wish)
        end = place.ear.end_of(wish.operation_id)
        assert (end.error, [step.step for step in end.steps]) == (None, [Step.CHANGE_NETWORK])
        _says(place, web, f"look_a:{name}.lab.internal", lambda words: "192.168.57.10" in words)
    _says(place, web, "look_a:www.lab.internal", lambda words: "192.168.57.10" not in words)
    assert qemu in place.host.qemus()

    # Where it fails, the machine keeps its cables and its name.
    closed = FirewallSpec(allow_in=False, allow_out=True)
    with broken_program(place.host, "nft", words="no room for rules"):
        failed = place.apply(wishes.later(newest, nics=(_card(LAB, 10, "www"),), firewall=closed))
    assert failed.error is not None
    assert failed.error.code is ErrorCode.FIREWALL_FAILED
    _says(place, web, "look_a:web.lab.internal", lambda words: "192.168.57.10" in words)
    _says(place, web, f"fetch_{OUTSIDE}", lambda words: words == "yes")


def _arguments(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _flush(place: Standing) -> None:
    place.host.network.inside("nft", "flush", "ruleset")


def _delete_bridge(place: Standing) -> None:
    place.host.network.inside("ip", "link", "del", bridge_name(LAB.id))


def _kill_dnsmasq(place: Standing) -> None:
    for pid in place.dnsmasqs():
        os.kill(pid, signal.SIGKILL)


def _unplug_tap(place: Standing) -> None:
    place.host.network.inside("ip", "link", "set", tap_name(_card(LAB, 10, "web")), "nomaster")


def _let_the_bridge_learn(place: Standing) -> None:
    card = _card(LAB, 10, "web")
    place.host.network.inside("bridge", "link", "set", "dev", tap_name(card), "learning", "on")
    place.host.network.inside("bridge", "fdb", "del", card.mac, "dev", tap_name(card), "master")


def _delete_tap(place: Standing) -> None:
    place.host.network.inside("ip", "link", "del", tap_name(_card(LAB, 10, "web")))


def _stop_forwarding(place: Standing) -> None:
    place.host.network.inside("sysctl", "-q", "-w", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")


def _take_addresses(place: Standing) -> None:
    place.host.network.inside("ip", "addr", "flush", "dev", bridge_name(LAB.id))


_REPAIRED: dict[Callable[[Standing], None], str] = {
    _flush: "rules", _delete_bridge: "bridge", _kill_dnsmasq: "dnsmasq", _unplug_tap: "tap", _delete_tap: "card",
    _let_the_bridge_learn: "tap", _stop_forwarding: "forwarding", _take_addresses: "bridge",
}  # fmt: skip
"""What the host tells of it, among other words."""


@pytest.mark.parametrize(
    "damage",
    [
        _flush,
        _delete_bridge,
        _kill_dnsmasq,
        _unplug_tap,
        _let_the_bridge_learn,
        _delete_tap,
        _stop_forwarding,
        _take_addresses,
    ],
)
def test_the_next_check_has_everything_back(
    place: Standing, web: MachineSpec, damage: Callable[[Standing], None]
) -> None:
    network, bridge, tap = place.host.network, bridge_name(LAB.id), tap_name(web.nics[0])
    _says(place, web, f"fetch_{OUTSIDE}", lambda words: words == "yes")
    served = len(place.dnsmasqs())
    begun, word = int(time.time()), _REPAIRED[damage]
    damage(place)

    def is_right() -> bool:
        links = network.inside("ip", "-o", "link", "show", "master", bridge, check=False)
        rules = network.rules()
        return (
            f"{tap}:" in links
            and "learning off" in network.inside("bridge", "-d", "link", "show", "dev", tap, check=False)
            and f"{web.nics[0].mac} sticky"
            in network.inside("bridge", "fdb", "show", "dev", tap, check=False)
            and "table inet offshoot" in rules
            and "table bridge offshoot" in rules
            and len(place.dnsmasqs()) == served
            and "192.168.57.1/24" in network.inside("ip", "addr", "show", "dev", bridge)
            and "fd57::1/64" in network.inside("ip", "addr", "show", "dev", bridge)
            and network.setting("ipv4/ip_forward") == network.setting("ipv6/conf/all/forwarding") == "1"
        )

    try:
        wait_for("all is as it should be", is_right, seconds=40)
    except AssertionError as exc:
        raise AssertionError(f"{exc}; {place.host.words()[-3000:]}") from exc
    _says(place, web, f"fetch_{OUTSIDE}", lambda words: words == "yes")
    _says(place, web, "look_a:db", lambda words: "192.168.57.11" in words)
    newest = place.ear.heartbeat(place.host.name).sequence
    repairs = place.ear.heartbeat(place.host.name, since=newest).usage.repairs
    assert any(repair.at >= begun and word in repair.what for repair in repairs), repairs


def test_with_its_last_machine_a_network_is_gone_and_the_host_is_as_before() -> None:
    with standing_host(internet=True, OFFSHOOT_NETWORK_CHECK_SECONDS="1") as place:
        network = place.host.network
        wait_for("a router has told the host its way out", network.default6)
        machine = place.done(wishes.spec(nics=(_card(LAB, 10, "web"),), memory_mib=64))
        assert network.setting(f"ipv6/conf/{network.card}/accept_ra") == "2"
        place.delete(machine)
        assert place.traces() == {}
        assert network.setting("ipv6/conf/all/forwarding") == "0"
        assert network.setting(f"ipv6/conf/{network.card}/accept_ra") == "1"
        assert "proto ra" in network.default6()


def test_what_cannot_be_put_right_keeps_nothing_else_from_it_and_both_are_told() -> None:
    with standing_host(OFFSHOOT_NETWORK_CHECK_SECONDS="1") as place:
        network = place.host.network
        for card in (_card(LAB, 10, "web"), _card(QUIET, 10, "still")):
            place.done(wishes.spec(name=card.host_name, nics=(card,), memory_mib=64))
        network.inside("ip", "link", "add", "foreign0", "type", "veth", "peer", "foreign1")
        network.inside("ip", "addr", "add", "192.168.57.200/24", "dev", "foreign0")
        since = place.ear.heartbeat(place.host.name).sequence
        for each in (LAB, QUIET):
            network.inside("ip", "link", "del", bridge_name(each.id))
        network.inside("nft", "flush", "ruleset")

        def is_there(each: NetworkSpec) -> bool:
            return bool(
                network.inside("ip", "-o", "link", "show", "master", bridge_name(each.id), check=False)
            )

        wait_for("the other network is whole", lambda: is_there(QUIET), seconds=30)
        wait_for("the rules are", lambda: "table bridge offshoot" in network.rules(), seconds=30)
        wait_for("it is said what is not", lambda: "networks not put right" in place.host.words(), seconds=30)
        assert not is_there(LAB)
        repairs = place.ear.heartbeat(place.host.name, since=since).usage.repairs
        assert any(str(QUIET.id) in repair.what for repair in repairs), repairs
        network.inside("ip", "link", "del", "foreign0")
        wait_for("all is", lambda: is_there(LAB), seconds=30)


def test_a_host_that_forwards_before_its_router_has_spoken_hears_it_all_the_same() -> None:
    with standing_host(internet=True, OFFSHOOT_NETWORK_CHECK_SECONDS="1") as place:
        network = place.host.network
        network.inside(
            "ip", "link", "set", network.card, "down"
        )  # as when the worker is up before the network
        assert not network.default6()
        place.done(wishes.spec(nics=(_card(LAB, 10, "web"),), memory_mib=64))
        assert network.setting("ipv6/conf/all/forwarding") == "1"
        network.inside("ip", "link", "add", "late0", "type", "veth", "peer", "late1")
        network.inside("ip", "link", "set", network.card, "up")
        wait_for("its router is heard", lambda: "proto ra" in network.default6(), seconds=30)
        wait_for(
            "a card that came later hears too",
            lambda: network.setting("ipv6/conf/late0/accept_ra") == "2",
            seconds=20,
        )


def test_a_port_at_which_a_program_of_the_host_listens_is_not_published(place: Standing) -> None:
    listening = (
        sys.executable,
        "-c",
        "import socket as s; c = s.create_server(('', 20022)); print(1, flush=True); c.accept()",
    )
    program = subprocess.Popen((*place.host.network.enter(), *listening), stdout=subprocess.PIPE)
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == b"1\n"
        port = PublishedPort(protocol=Protocol.TCP, host_port=20022, guest_port=22)
        card = _card(LAB, 77, "shut").model_copy(update={"ports": (port,)})
        machine = wishes.spec(nics=(card,), memory_mib=64)
        end = place.apply(machine)
        assert end.error is not None
        assert (end.error.code, "tcp 20022" in end.error.detail) == (ErrorCode.PORT_TAKEN, True)
        assert tap_name(card) not in place.host.network.links()
        place.delete(machine)
    finally:
        program.terminate()
        program.wait()
        if program.stdout is not None:
            program.stdout.close()
