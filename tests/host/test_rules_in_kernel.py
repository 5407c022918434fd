"""The rules of cards in a real kernel: whole frames, sent into one cable and waited for at another."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from uuid import UUID

import pytest

from tests.lab.network import HostNetwork
from tests.lab.wire import Cable, arp, ethernet, icmp, in_namespace, packet, tcp, udp
from workers.contract.networks import (
    Direction,
    FirewallRule,
    FirewallSpec,
    NetworkKind,
    NetworkSpec,
    Protocol,
    PublishedPort,
)
from workers.host import firewall, translated
from workers.host.rules_in_force import RulesInForce
from workers.plan.names import bridge_mac, bridge_name
from workers.plan.network import PluggedNic, WiredNetwork
from workers.plan.rulesets import flows, wanted
from workers.plan.rulesets.cards import link_local
from workers.plan.rulesets.parts import Part

NETWORK = NetworkSpec(id=UUID(int=5), subnet=IPv4Network("10.7.0.0/24"), subnet6=IPv6Network("fd07::/64"))
SEGMENT = NetworkSpec(id=UUID(int=6), kind=NetworkKind.BRIDGED, bridge="br-lan")
A = PluggedNic("ot0000aa", "52:54:00:00:00:aa", IPv4Address("10.7.0.10"), IPv6Address("fd07::a"))
B = PluggedNic("ot0000bb", "52:54:00:00:00:bb", IPv4Address("10.7.0.11"), IPv6Address("fd07::b"))
ALL = "ff:ff:ff:ff:ff:ff"
ALL6 = "33:33:00:00:00:01"
SYN, SYN_ACK, ACK, PSH_ACK, RST = 0x02, 0x12, 0x10, 0x18, 0x04
ROUTER = str(link_local(bridge_mac(NETWORK.id)))


class Lab:
    """Two cards in one bridge, and the rules for them."""

    def __init__(self, network: HostNetwork, folder: Path) -> None:
        self._namespace = network.host
        # Else netfilter's other families see bridged frames too, and hold fragments until they are whole.
        for family in ("ip", "ip6"):
            network.inside("sysctl", "-q", "-w", f"net.bridge.bridge-nf-call-{family}tables=0", check=False)
        bridge = bridge_name(NETWORK.id)
        network.inside("ip", "link", "add", bridge, "type", "bridge")
        network.inside("sysctl", "-q", "-w", f"net.ipv6.conf.{bridge}.disable_ipv6=1")
        network.inside("ip", "link", "set", bridge, "up")
        self.a, self.b = (Cable(network, bridge, nic.tap) for nic in (A, B))
        self.network, self.folder = network, folder

    def rules(self, a: PluggedNic = A, b: PluggedNic = B, network: NetworkSpec = NETWORK) -> None:
        in_namespace(self._namespace, lambda: firewall.apply(self.folder, [WiredNetwork(network, (a, b))]))

    def is_in_force(self, a: PluggedNic = A, b: PluggedNic = B) -> bool:
        return in_namespace(
            self._namespace, lambda: firewall.is_in_force(self.folder, [WiredNetwork(NETWORK, (a, b))])
        )

    def passes(self, frame: bytes, *, back: bool = False) -> bool:
        """A frame from A (or `back` from B) comes out at the other. A last one that surely does ends the waiting."""
        sender, receiver, nic = (self.b, self.a, B) if back else (self.a, self.b, A)
        mark = sender.send(frame)
        return mark in receiver.heard(sender.send(arp(nic.mac, str(nic.address), "10.7.0.1")))

    def passing(self, frames: dict[str, bytes]) -> dict[str, bool]:
        return {name: self.passes(frame) for name, frame in frames.items()}


@pytest.fixture
def lab(folder: Path) -> Iterator[Lab]:
    """Of the test's own."""
    network = HostNetwork(folder, internet=False)
    try:
        lab = Lab(network, folder)
        yield lab
        lab.a.close()
        lab.b.close()
    finally:
        network.close()


def from_a(source: str, protocol: int, body: bytes, **more: int) -> bytes:
    target = "10.7.0.11" if ":" not in source else "fd07::b"
    return packet(A.mac, B.mac, source, target, protocol, body, **more)


def dhcp(mac: str) -> bytes:
    """A client's message about the card with this MAC (RFC 2131)."""
    fixed = struct.pack("!BBBBIHH16x", 1, 1, 6, 0, 7, 0, 0) + bytes.fromhex(mac.replace(":", "")).ljust(
        208, b"\0"
    )
    return struct.pack("!HHHH", 68, 67, 8 + len(fixed), 0) + fixed


def neighbour(kind: int, source: str, about: str) -> bytes:
    """Neighbour discovery from A."""
    return packet(A.mac, ALL6, source, "ff02::1", 58, icmp(kind, bytes(4) + IPv6Address(about).packed))


def tagged(frame: bytes, kind: int = 0x8100) -> bytes:
    return frame[:12] + struct.pack("!HH", kind, 5) + frame[12:]


HONEST = {
    "arp": arp(A.mac, "10.7.0.10", "10.7.0.11"),
    "arp probe": arp(A.mac, "0.0.0.0", "10.7.0.10", operation=1),
    "ipv4": from_a("10.7.0.10", 17, udp(1000, 2000)),
    "dhcp question": packet(A.mac, ALL, "0.0.0.0", "255.255.255.255", 17, dhcp(A.mac)),
    "dhcp renewal": packet(A.mac, B.mac, "10.7.0.10", "10.7.0.11", 17, dhcp(A.mac)),
    "ipv6": from_a("fd07::a", 17, udp(1000, 2000)),
    "ipv6 of its link": packet(A.mac, B.mac, "fe80::1234", "fe80::b", 17, udp(1000, 2000)),
    "dhcpv6 question": packet(A.mac, ALL6, "fe80::1234", "ff02::1:2", 17, udp(546, 547)),
    "router solicitation": packet(A.mac, ALL6, "fe80::1234", "ff02::2", 58, icmp(133)),
    "router solicitation of nobody": packet(A.mac, ALL6, "::", "ff02::2", 58, icmp(133)),
    "is my address free": neighbour(135, "::", "fd07::a"),
    "is my address of the link free": neighbour(135, "::", "fe80::1234"),
    "where is another": neighbour(135, "fd07::a", "fd07::b"),
    "here am I": neighbour(136, "fd07::a", "fd07::a"),
    "here am I on the link": neighbour(136, "fe80::1234", "fe80::1234"),
}
FALSE_MAC = {
    "ethernet source": from_a("10.7.0.10", 17, udp(1, 2)).replace(
        bytes.fromhex("5254000000aa"), b"\x52\x54\0\0\0\xcc"
    ),
    "arp sender mac": arp(A.mac, "10.7.0.10", "10.7.0.11", sender_mac=B.mac),
    "vlan tag": tagged(HONEST["ipv4"]),
    "provider's tag": tagged(HONEST["ipv4"], 0x88A8),
    "reverse arp": ethernet(A.mac, ALL, 0x8035, arp(A.mac, "10.7.0.10", "10.7.0.11")[14:]),
    "other type": ethernet(A.mac, ALL, 0x88CC, bytes(40)),
    "spanning tree's length": ethernet(A.mac, ALL, 38, bytes(40)),
    "dhcp answer": from_a("10.7.0.10", 17, udp(67, 68)),
    "dhcp answer from another port": from_a("10.7.0.10", 17, udp(9999, 68)),
    "dhcp question for another": packet(A.mac, ALL, "0.0.0.0", "255.255.255.255", 17, dhcp(B.mac)),
    "dhcp refusal for another": from_a("10.7.0.10", 17, dhcp(B.mac)),
    "dhcp question in pieces": packet(
        A.mac, ALL, "0.0.0.0", "255.255.255.255", 17, dhcp(A.mac), fragment=0x2000
    ),
    "dhcpv6 answer": packet(A.mac, B.mac, "fe80::1234", "fe80::b", 17, udp(547, 546)),
    "router advertisement": packet(A.mac, ALL6, "fe80::1234", "ff02::1", 58, icmp(134)),
    "redirect": packet(A.mac, B.mac, "fe80::1234", "fe80::b", 58, icmp(137, bytes(40))),
    "redirect of ipv4": from_a("10.7.0.10", 1, icmp(5)),
    "multicast router's question": packet(A.mac, ALL6, "fe80::1234", "ff02::1", 58, icmp(130)),
    "multicast router's advertisement": packet(A.mac, ALL6, "fe80::1234", "ff02::6a", 58, icmp(151)),
    "multicast router's question of ipv4": packet(A.mac, ALL, "10.7.0.10", "224.0.0.1", 2, icmp(0x11)),
}
FALSE_ADDRESS = {
    "arp for another": arp(A.mac, "10.7.0.11", "10.7.0.12"),
    "arp for the gateway": arp(A.mac, "10.7.0.1", "10.7.0.11"),
    "ipv4 of another": from_a("10.7.0.12", 17, udp(1, 2)),
    "ipv4 of nobody": packet(A.mac, B.mac, "0.0.0.0", "10.7.0.11", 17, udp(1, 2)),
}
FALSE_ADDRESS6 = {
    "ipv6 of another": from_a("fd07::c", 17, udp(1, 2)),
    "ipv6 of the router": packet(A.mac, B.mac, ROUTER, "fe80::b", 17, udp(1, 2)),
    "nobody's datagram": packet(A.mac, B.mac, "::", "fd07::b", 17, udp(1, 2)),
    "here is another": neighbour(136, "fd07::a", "fd07::b"),
    "here is the gateway": neighbour(136, "fd07::a", "fd07::1"),
    "here is the router": neighbour(136, "fe80::1234", ROUTER),
    "another's address is taken": neighbour(135, "::", "fd07::b"),
    "the router's address is taken": neighbour(135, "::", ROUTER),
}


def test_a_card_speaks_as_itself_alone(lab: Lab) -> None:
    lab.rules()
    assert lab.passing(HONEST) == dict.fromkeys(HONEST, True)
    false = FALSE_MAC | FALSE_ADDRESS | FALSE_ADDRESS6
    assert lab.passing(false) == dict.fromkeys(false, False)


def test_without_an_ipv6_address_nothing_of_ipv6_leaves_a_card(lab: Lab) -> None:
    lab.rules(a=replace(A, address6=None))
    six = {name: frame for name, frame in HONEST.items() if frame[12:14] == b"\x86\xdd"}
    four = {name: frame for name, frame in HONEST.items() if name not in six}
    assert lab.passing(six) == dict.fromkeys(six, False)
    assert lab.passing(four) == dict.fromkeys(four, True)


def test_in_a_bridged_network_unknown_addresses_pass_and_false_macs_and_servers_do_not(lab: Lab) -> None:
    lab.rules(a=replace(A, address=None, address6=None), network=SEGMENT)
    theirs = {name: frame for name, frame in FALSE_ADDRESS6.items() if "nobody" not in name}
    known = HONEST | FALSE_ADDRESS | theirs
    assert lab.passing(known) == dict.fromkeys(known, True)
    assert lab.passing(FALSE_MAC) == dict.fromkeys(FALSE_MAC, False)
    lab.rules(network=SEGMENT)
    assert lab.passing(HONEST) == dict.fromkeys(HONEST, True)
    assert lab.passing(FALSE_ADDRESS) == dict.fromkeys(FALSE_ADDRESS, False)
    assert not lab.passes(FALSE_ADDRESS6["ipv6 of another"])
    assert not lab.passes(FALSE_ADDRESS6["here is another"])


def wall(*rules: FirewallRule, allow_in: bool = False, allow_out: bool = True) -> FirewallSpec:
    return FirewallSpec(allow_in=allow_in, allow_out=allow_out, rules=rules)


def rule(
    direction: Direction, protocol: Protocol, *, allow: bool = True, port: int | None = None, peer: str = ""
) -> FirewallRule:
    end = (IPv6Network(peer) if ":" in peer else IPv4Network(peer)) if peer else None
    return FirewallRule(
        direction=direction, allow=allow, protocol=protocol, first_port=port, last_port=port, peer=end
    )


def segment(flags: int, *, six: bool = False, back: bool = False, port: int = 22, other: int = 4000) -> bytes:
    """Of the connection from A's port `other` to B's `port`."""
    a, b = ("fd07::a", "fd07::b") if six else ("10.7.0.10", "10.7.0.11")
    if back:
        return packet(B.mac, A.mac, b, a, 6, tcp(port, other, flags))
    return packet(A.mac, B.mac, a, b, 6, tcp(other, port, flags))


def datagram(source: int, target: int, *, back: bool = False, six: bool = False) -> bytes:
    a, b = ("fd07::a", "fd07::b") if six else ("10.7.0.10", "10.7.0.11")
    return (
        packet(B.mac, A.mac, b, a, 17, udp(source, target))
        if back
        else packet(A.mac, B.mac, a, b, 17, udp(source, target))
    )


def ping(kind: int, *, back: bool = False, six: bool = False) -> bytes:
    a, b = ("fd07::a", "fd07::b") if six else ("10.7.0.10", "10.7.0.11")
    protocol = 58 if six else 1
    return (
        packet(B.mac, A.mac, b, a, protocol, icmp(kind))
        if back
        else packet(A.mac, B.mac, a, b, protocol, icmp(kind))
    )


@pytest.mark.parametrize("network", [NETWORK, SEGMENT], ids=["nat", "bridged"])
@pytest.mark.parametrize("six", [False, True], ids=["ipv4", "ipv6"])
def test_what_comes_in_is_what_a_rule_allows_and_answers(lab: Lab, six: bool, network: NetworkSpec) -> None:
    request, reply = (128, 129) if six else (8, 0)
    lab.rules(b=replace(B, firewall=wall(rule(Direction.IN, Protocol.TCP, port=22))), network=network)
    assert lab.passes(segment(SYN, six=six))
    assert not lab.passes(segment(SYN, six=six, port=23))
    assert not lab.passes(datagram(1, 22, six=six))
    assert not lab.passes(ping(request, six=six))
    assert not lab.passes(ping(reply, six=six))
    # B begins: the answers come, and nothing that only resembles them.
    assert lab.passes(segment(SYN, six=six, back=True, port=5000, other=80), back=True)
    assert lab.passes(segment(SYN_ACK, six=six, port=5000, other=80))
    assert not lab.passes(segment(SYN_ACK, six=six, port=5001, other=80))
    assert not lab.passes(segment(SYN_ACK, six=six, port=5000, other=81))
    assert lab.passes(datagram(5353, 53, six=six, back=True), back=True)
    assert lab.passes(datagram(53, 5353, six=six))
    assert not lab.passes(datagram(53, 5354, six=six))
    assert lab.passes(ping(request, six=six, back=True), back=True)
    assert lab.passes(ping(reply, six=six))
    assert not lab.passes(ping(request, six=six))
    assert lab.passes(packet(B.mac, A.mac, "10.7.0.11", "10.7.0.10", 47, bytes(20)), back=True)
    assert lab.passes(from_a("10.7.0.10", 47, bytes(20)))
    assert not lab.passes(from_a("10.7.0.10", 50, bytes(20)))


def test_what_leaves_is_what_a_rule_allows_and_answers(lab: Lab) -> None:
    closed = wall(
        rule(Direction.OUT, Protocol.TCP, port=80, peer="10.7.0.0/28"),
        rule(Direction.OUT, Protocol.PING),
        rule(Direction.IN, Protocol.UDP, allow=False, peer="10.7.0.11/32"),
        allow_in=True,
        allow_out=False,
    )
    lab.rules(a=replace(A, firewall=closed))
    assert lab.passes(segment(SYN, port=80))
    assert lab.passes(segment(SYN_ACK, port=80, back=True), back=True)
    assert not lab.passes(segment(SYN, port=443))
    assert not lab.passes(segment(SYN, port=80, six=True))  # the rule is about IPv4
    assert not lab.passes(datagram(1, 80))
    assert lab.passes(ping(8))
    assert not lab.passes(datagram(1, 80, back=True), back=True)
    # B begins: A answers that, whatever may leave it.
    assert not lab.passes(segment(SYN_ACK, port=6000, other=22))
    assert lab.passes(segment(SYN, port=6000, other=22, back=True), back=True)
    assert lab.passes(segment(SYN_ACK, port=6000, other=22))


def test_what_a_network_needs_passes_the_most_closed_firewall(lab: Lab) -> None:
    nothing = wall(allow_out=False)
    lab.rules(a=replace(A, firewall=nothing), b=replace(B, firewall=nothing))
    needed = {
        name: frame
        for name, frame in HONEST.items()
        if name not in ("ipv4", "ipv6", "ipv6 of its link", "dhcp renewal")
    }
    out_only = ("dhcp question", "dhcpv6 question", "router solicitation", "router solicitation of nobody")
    both = {name: frame for name, frame in needed.items() if name not in out_only}
    assert lab.passing(both) == dict.fromkeys(both, True)
    errors = {"unreachable": from_a("10.7.0.10", 1, icmp(3)), "too big": from_a("fd07::a", 58, icmp(2))}
    assert lab.passing(errors) == dict.fromkeys(errors, True)
    closed = {
        "ipv4": HONEST["ipv4"],
        "ipv6": HONEST["ipv6"],
        "ping": ping(8),
        "dhcp far": from_a("10.7.0.10", 17, udp(68, 67)),
    }
    assert lab.passing(closed) == dict.fromkeys(closed, False)
    lab.rules(a=replace(A, firewall=nothing))
    questions = {name: needed[name] for name in out_only}
    assert lab.passing(questions) == dict.fromkeys(questions, True)


def test_later_fragments_pass_after_a_first_one_that_did(lab: Lab) -> None:
    lab.rules(b=replace(B, firewall=wall(rule(Direction.IN, Protocol.UDP, port=2000))))
    later = from_a("10.7.0.10", 17, bytes(16), fragment=3)
    assert not lab.passes(later)
    assert not lab.passes(from_a("10.7.0.10", 17, udp(1000, 2001), fragment=0x2000))
    assert not lab.passes(later)
    assert lab.passes(from_a("10.7.0.10", 17, udp(1000, 2000), fragment=0x2000))
    assert lab.passes(later)
    head = struct.pack("!BBHI", 17, 0, 1, 77), struct.pack("!BBHI", 17, 0, 2 << 3, 77)
    first6, later6 = (
        from_a("fd07::a", 44, head[0] + udp(1000, 2000)),
        from_a("fd07::a", 44, head[1] + bytes(16)),
    )
    assert not lab.passes(later6)
    assert lab.passes(first6)
    assert lab.passes(later6)


def test_flows_of_a_rule_that_is_taken_back_end_and_those_of_another_machine_stay(lab: Lab) -> None:
    guarded = replace(A, firewall=wall())
    lab.rules(a=guarded, b=replace(B, firewall=wall(rule(Direction.IN, Protocol.TCP, port=22))))
    assert lab.passes(segment(SYN))
    assert lab.passes(segment(SYN_ACK, back=True), back=True)
    lab.rules(a=guarded, b=replace(B, firewall=wall()))
    assert not lab.passes(segment(PSH_ACK))
    assert lab.passes(segment(PSH_ACK, back=True), back=True)  # A's note of what it began is still there
    lab.rules(a=replace(A, firewall=wall(rule(Direction.OUT, Protocol.TCP, allow=False))), b=B)
    assert not lab.passes(segment(PSH_ACK))
    assert not lab.passes(segment(PSH_ACK, back=True), back=True)


@pytest.fixture
def _room_for_four_flows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(flows, "MOST_FLOWS", 4)
    wanted._card_part.cache_clear()
    yield
    wanted._card_part.cache_clear()


@pytest.mark.usefixtures("_room_for_four_flows")
def test_a_guest_that_fills_its_notes_starves_nobody_else(lab: Lab) -> None:
    lab.rules(
        a=replace(A, firewall=wall()), b=replace(B, firewall=wall(rule(Direction.IN, Protocol.UDP, port=9)))
    )
    for port in range(1000, 1006):
        assert lab.passes(datagram(port, 9))
    answered = [lab.passes(datagram(9, port, back=True), back=True) for port in range(1000, 1006)]
    assert answered == [True] * 4 + [False] * 2
    lab.rules(
        a=replace(A, firewall=wall(allow_in=True)),
        b=replace(B, firewall=wall(rule(Direction.IN, Protocol.UDP, port=9))),
    )
    assert lab.passes(datagram(7000, 7, back=True), back=True)
    assert lab.passes(datagram(7, 7000))


def test_whatever_is_changed_in_our_tables_the_check_sees_it_and_puts_it_right(lab: Lab) -> None:
    guarded = replace(A, firewall=wall())
    lab.rules(a=guarded)
    assert lab.is_in_force(a=guarded)
    assert not lab.is_in_force()  # other rules are wanted
    lab.passes(datagram(1, 9))  # a note of a flow is no change
    for harm in (
        f"add rule bridge offshoot to_{A.tap} accept",
        f"insert rule inet offshoot entering_{bridge_name(NETWORK.id)} accept",
        f'delete element bridge offshoot to_cards {{ "{A.tap}" }}',
        f"delete element bridge offshoot from_cards {{ {B.tap} }} ; delete chain bridge offshoot from_{B.tap}",
        "add element inet offshoot published { tcp . 99 : 10.7.0.10 . 22 }",
        "add chain bridge offshoot another",
        "flush chain bridge offshoot prerouting",
        "delete table inet offshoot",
        "flush ruleset",
    ):
        lab.network.inside("nft", harm)
        assert not lab.is_in_force(a=guarded), harm
        lab.rules(a=guarded)
        assert lab.is_in_force(a=guarded), harm
    lab.network.inside("nft", "add table inet foreign { chain c { drop; } ; }")
    assert lab.is_in_force(a=guarded)
    lab.rules()
    assert "table inet foreign" in lab.network.rules()


def test_where_only_others_changed_rules_or_we_ourselves_nothing_is_listed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = replace(A, firewall=wall())
    lab.rules(a=guarded)
    assert lab.is_in_force(a=guarded)
    listed: list[object] = []
    in_kernel = firewall._in_kernel

    def listing() -> dict[str, tuple[str, ...]]:
        listed.append(1)
        return in_kernel()

    monkeypatch.setattr(firewall, "_in_kernel", listing)
    lab.network.inside("nft", "add table inet foreign { chain c { drop; } ; }")
    lab.passes(datagram(1, 9))  # a note of a flow, and counters, are no change
    assert lab.is_in_force(a=guarded)
    lab.rules()
    assert lab.is_in_force()
    lab.network.inside("nft", "delete table inet foreign")
    assert lab.is_in_force()
    assert listed == []
    lab.network.inside("nft", f'delete element bridge offshoot from_cards {{ "{A.tap}" }}')
    assert not lab.is_in_force()
    assert listed == [1]
    lab.rules()
    lab.network.inside(
        "nft", f"add rule bridge offshoot from_{A.tap} accept ; add chain bridge offshoot another"
    )
    lab.rules(a=guarded)  # ours, on top of what somebody else changed
    assert not lab.is_in_force(a=guarded)


def test_changes_one_by_one_end_in_the_rules_of_the_whole(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk from networks to networks; only the first step may replace everything."""
    replaced: list[object] = []
    replace_all = firewall._replace

    def replacing(journal: RulesInForce, parts: dict[str, Part]) -> None:
        replaced.append(parts)
        replace_all(journal, parts)

    monkeypatch.setattr(firewall, "_replace", replacing)
    luck = random.Random(7)
    state = lab.folder
    for step in range(16):
        needed = _some_networks(luck)
        if step == 5:  # a worker that has just been started
            firewall._journal.cache_clear()
        in_namespace(lab.network.host, partial(firewall.apply, state, needed))
        firewall._verified.clear()  # so that they are listed
        assert in_namespace(lab.network.host, partial(firewall.is_in_force, state, needed)), needed
    assert len(replaced) == 1
    in_namespace(lab.network.host, lambda: firewall.apply(state, []))
    assert "offshoot" not in lab.network.rules()


def _some_networks(luck: random.Random) -> list[WiredNetwork]:
    ranged = FirewallRule(
        direction=Direction.IN, allow=True, protocol=Protocol.UDP, first_port=5000, last_port=5999
    )
    walls = (
        None,
        wall(),
        wall(rule(Direction.IN, Protocol.TCP, port=22)),
        wall(rule(Direction.OUT, Protocol.ANY), allow_out=False),
        wall(
            ranged, rule(Direction.IN, Protocol.PING), rule(Direction.OUT, Protocol.TCP, allow=False, port=25)
        ),
        wall(
            rule(Direction.IN, Protocol.TCP, port=80, peer="10.0.0.0/8"),
            rule(Direction.IN, Protocol.ANY, peer="fd00::/8"),
            rule(Direction.OUT, Protocol.PING, peer="0.0.0.0/0"),
            allow_out=False,
        ),
    )
    ports = (
        (),
        (PublishedPort(protocol=Protocol.TCP, host_port=2022, guest_port=22),),
        (
            PublishedPort(protocol=Protocol.TCP, host_port=2022, guest_port=23),
            PublishedPort(protocol=Protocol.UDP, host_port=53000, guest_port=53),
        ),
    )
    dual = NetworkSpec(
        id=UUID(int=9 << 96), subnet=IPv4Network("10.9.0.0/24"), subnet6=IPv6Network("fd09::/64")
    )
    isolated = dual.model_copy(update={"kind": NetworkKind.ISOLATED})
    found = []
    for number, network in enumerate((NETWORK, luck.choice((dual, isolated)), SEGMENT)):
        nics = [
            replace(
                nic,
                tap=f"{nic.tap[:-1]}{number}",
                address6=luck.choice((nic.address6, None)),
                firewall=luck.choice(walls),
                ports=luck.choice(ports) if network is NETWORK and nic is A else (),
            )
            for nic in (A, B)
            if luck.random() < 0.7
        ]
        if nics or number == 0:
            found.append(WiredNetwork(network, tuple(nics)))
    return found


def test_one_more_card_asks_nft_nothing_about_the_host(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """nft reads all rules of a host before each change, so that it takes longer the more there are."""
    lab.rules()
    asked: list[object] = []
    monkeypatch.setattr(firewall, "run", lambda argv, **_: asked.append(argv))
    guarded = replace(A, firewall=wall(rule(Direction.IN, Protocol.TCP, port=22)))
    lab.rules(a=guarded)
    assert asked == []
    monkeypatch.undo()
    firewall._verified.clear()
    assert lab.is_in_force(a=guarded)


def test_a_host_that_gives_no_namespace_of_its_own_has_its_rules_all_the_same(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.rules()

    def refused() -> None:
        raise PermissionError("unshare")

    monkeypatch.setattr(translated, "_leave", refused)
    translated._namespace.cache_clear()
    try:
        guarded = replace(A, firewall=wall())
        lab.rules(a=guarded)
        firewall._verified.clear()
        assert lab.is_in_force(a=guarded)
    finally:
        translated._namespace.cache_clear()


def test_what_does_not_fit_what_the_kernel_holds_is_put_right_as_a_whole(lab: Lab) -> None:
    """Somebody took a chain of ours away, and no check has seen it yet."""
    guarded = replace(A, firewall=wall())
    lab.rules(a=guarded)
    lab.network.inside("nft", f'delete element bridge offshoot to_cards {{ "{A.tap}" }}')
    lab.network.inside("nft", f"delete chain bridge offshoot to_{A.tap}")
    lab.rules()
    firewall._verified.clear()
    assert lab.is_in_force()


def test_rules_that_nft_refuses_leave_those_before_in_force(lab: Lab) -> None:
    lab.rules()
    before = lab.network.rules()
    refused = replace(B, ports=(PublishedPort(protocol=Protocol.TCP, host_port=2022, guest_port=22),))
    clash = replace(A, ports=(PublishedPort(protocol=Protocol.TCP, host_port=2022, guest_port=23),))
    with pytest.raises(firewall.FirewallError, match="nft"):
        lab.rules(a=clash, b=refused)
    assert lab.network.rules() == before
    lab.rules(a=clash)
    assert lab.is_in_force(a=clash)


def test_a_port_at_which_a_program_listens_is_in_use() -> None:
    with socket.socket() as busy, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as busy_udp:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        busy_udp.bind(("127.0.0.1", 0))
        tcp_port, udp_port = busy.getsockname()[1], busy_udp.getsockname()[1]
        ports = [
            PublishedPort(protocol=protocol, host_port=port, guest_port=1)
            for protocol, port in ((Protocol.TCP, tcp_port), (Protocol.UDP, udp_port))
        ]
        assert firewall.ports_in_use(ports) == tuple(ports)
    assert firewall.ports_in_use(ports) == ()
