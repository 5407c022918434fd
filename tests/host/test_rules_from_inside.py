"""The rules of networks and cards, asked by real guests that do what they are told; a bridged card has them as well as ours.

`walled` is the machine whose rules are asked, with a card behind the host and one in a segment of the host's own. `crowd` has
the cards of all other guests, each in a room of its own: seen from the host a room is one more machine with one card.
"""

from __future__ import annotations

import functools
import http.server
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from uuid import UUID, uuid4

import pytest

from tests.guest.build import WITH_SERVERS, guest_disc
from tests.lab import wishes
from tests.lab.network import HOST_OUTSIDE, HOST_OUTSIDE6, NAME, OUTSIDE, OUTSIDE6
from tests.lab.processes import DNSMASQ, processes_of
from tests.lab.standing import Standing, standing_host
from tests.lab.switch import Switch
from tests.lab.told import Asker, Guest, Namespace, Room, at_once, settle
from tests.lab.wire import in_namespace
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
from workers.contract.spec import MIB, DiskKind, DiskSpec
from workers.plan.names import bridge_name, tap_name
from workers.plan.rulesets.cards import link_local

IN, OUT = Direction.IN, Direction.OUT
TCP, UDP, PING = Protocol.TCP, Protocol.UDP, Protocol.PING
LAB = NetworkSpec(
    id=UUID("5b1f2c9e-7a34-4c1d-9a55-0a1b2c3d4e60"),
    subnet=IPv4Network("192.168.57.0/24"),
    subnet6=IPv6Network("fd57::/64"),
)
OTHER = NetworkSpec(
    id=UUID("7c1f2c9e-7a34-4c1d-9a55-0a1b2c3d4e61"),
    subnet=IPv4Network("192.168.58.0/24"),
    subnet6=IPv6Network("fd58::/64"),
)
SEGMENT = NetworkSpec(
    id=UUID("9d1f2c9e-7a34-4c1d-9a55-0a1b2c3d4e62"), kind=NetworkKind.BRIDGED, bridge="own0"
)
HERE, THERE = ("192.168.57.10", "fd57::a"), ("198.51.100.101", "2001:db8:7::65")
"""The walled machine's addresses, behind the host and in the segment."""

WEB = PublishedPort(protocol=TCP, host_port=8022, guest_port=80)
CALLS = PublishedPort(protocol=UDP, host_port=5300, guest_port=5000)
FALSE = "fd66::"
"""Where the addresses are that thieves give out."""

COMING_IN = {
    "ping": "ping -c 1 -W 2 {0}",
    "tcp 22": "tcp {0} 22 | grep -qx 'tcp 22'",
    "tcp 22 by IPv6": "tcp {1} 22 | grep -qx 'tcp 22'",
    "tcp 23": "tcp {0} 23 | grep -qx 'tcp 23'",
    "udp 1000": "udp {0} 1000 | grep -qx 'udp 1000'",
    "udp 1001": "udp {0} 1001 | grep -qx 'udp 1001'",
}
GOING_OUT = {
    "page outside": f"page {OUTSIDE} | grep -q ' 200 '",
    "page in the segment": f"page {Switch.NEIGHBOUR} | grep -q ' 200 '",
    "ping outside": f"ping -c 1 -W 2 {OUTSIDE}",
    "ping in the segment": f"ping -c 1 -W 2 {Switch.NEIGHBOUR}",
    "ping the router": f"ping -c 1 -W 2 {LAB.gateway}",
    "name": f"timeout 2 nslookup -type=a {NAME} {LAB.gateway}",
    "udp of a neighbour": "udp 192.168.57.11 1000 | grep -qx 'udp 1000'",
}


@dataclass
class Lab:
    """The host with its networks, and everybody who asks.

    Behind the host are the walled machine's `neighbour` and `second` neighbour, in another network there `far`. In the
    segment are the guests `beside` it and the `thief`, and `near`, which is no machine.
    """

    place: Standing
    walled: Guest
    neighbour: Guest
    second: Room
    far: Room
    beside: Room
    thief: Room
    host: Namespace
    near: Namespace
    outside: Namespace

    def wall(self, *rules: FirewallRule, allow_in: bool = True, allow_out: bool = True) -> None:
        """The walled machine has this firewall from now on."""
        self.walled.change(firewall=FirewallSpec(allow_in=allow_in, allow_out=allow_out, rules=rules))

    def come_in(self, expected: Mapping[str, set[str]]) -> None:
        """Exactly this of what each asks at the walled machine's card there is let in."""
        askers: dict[str, tuple[Asker, tuple[str, str]]] = {
            "neighbour": (self.neighbour, HERE),
            "second": (self.second, HERE),
            "host": (self.host, HERE),
            "near": (self.near, THERE),
            "beside": (self.beside, THERE),
        }
        questions = {
            name: (asker, {word: ask.format(*at) for word, ask in COMING_IN.items()})
            for name, (asker, at) in askers.items()
        }
        settle(questions, expected)

    def go_out(self, *expected: str) -> None:
        """Exactly this of what the walled machine asks is answered."""
        settle({"walled": (self.walled, GOING_OUT)}, {"walled": set(expected)})


def _everybody(*words: str) -> dict[str, set[str]]:
    return {name: set(words) for name in ("neighbour", "second", "host", "near", "beside")}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One host and two guests for the whole file."""
    with ExitStack() as stack:
        place = stack.enter_context(standing_host(internet=True))
        ours, segments = _card(LAB, 10, ports=(WEB, CALLS)), _card(SEGMENT, 101, slot=1)
        switch = Switch(place.folder, {segments.mac: THERE[0]})
        stack.enter_context(closing(switch))
        near, host = Namespace(switch.near()[-1]), Namespace(place.host.network.host)
        switch.plug_in(host.name)
        # Where netfilter's other families see bridged frames too, these do a part of what the rules of cards shall do alone.
        host.does("for family in ip ip6; do sysctl -q -w net.bridge.bridge-nf-call-${family}tables=0; done")
        host.does(
            f"ip link add {SEGMENT.bridge} type bridge; ip link set {Switch.CARD} master {SEGMENT.bridge}\n"
            f"ip link set {SEGMENT.bridge} up; ip addr add 2001:db8:7::b/64 dev {SEGMENT.bridge} nodad"
        )
        near.does(f"ip addr add 2001:db8:7::ff/64 dev {Switch.CARD} nodad")
        places = ((LAB, 11), (LAB, 12), (OTHER, 10), (SEGMENT, 102), (SEGMENT, 103))
        cards = tuple(_card(network, number, slot=slot) for slot, (network, number) in enumerate(places))
        disc = place.host.put_disc(uuid4(), guest_disc("told", kernel=WITH_SERVERS))

        def machine(name: str, nics: tuple[NicSpec, ...]) -> Guest:
            disk = DiskSpec(id=uuid4(), size_bytes=MIB, kind=DiskKind.FIXED)
            spec = wishes.spec(name=name, nics=nics, disc=disc, disks=(disk,), memory_mib=192)
            return Guest(place, place.done(spec))

        walled, crowd = machine("walled", (ours, segments)), machine("crowd", cards)
        second = Room(crowd, "second", cards[1], "192.168.57.12", "fd57::c")
        far = Room(crowd, "far", cards[2], "192.168.58.10", "fd58::a")
        beside = Room(crowd, "beside", cards[3], "198.51.100.102", "2001:db8:7::66")
        thief = Room(crowd, "thief", cards[4], "198.51.100.103", "2001:db8:7::67")
        default = f"default via {OTHER.gateway}; at far ip -6 route add default via {OTHER.gateway6}"
        told = {
            "walled": (
                f"lease eth1; addresses eth0 {HERE[1]}/64; addresses eth1 {THERE[1]}/64\n"
                "serve tcp 22 23 80; serve udp 1000 1001 5000; serve echo 24"
            ),
            "crowd": (
                "addresses eth0 fd57::b/64; serve tcp 22; serve udp 1000\n"
                + "".join(room.made() for room in (second, far, beside, thief))
                + f"at far ip route add {default}; at far serve tcp 22"
            ),
        }
        guests = {"walled": walled, "crowd": crowd}
        at_once({name: functools.partial(guests[name].does, script) for name, script in told.items()})
        outside = Namespace(place.host.network.outside()[-1])
        yield Lab(place, walled, crowd, second, far, beside, thief, host, near, outside)


def _card(
    network: NetworkSpec, number: int, *, slot: int = 0, ports: tuple[PublishedPort, ...] = ()
) -> NicSpec:
    four, six = network.subnet, network.subnet6
    return NicSpec(
        network=network,
        mac=f"52:54:00:00:{four[0].packed[2] if four else 1:02x}:{number:02x}",
        address=IPv4Address(four[number]) if four else None,
        address6=IPv6Address(six[number]) if six else None,
        slot=slot,
        ports=ports,
    )


def _rule(
    direction: Direction, protocol: Protocol, port: int | None = None, *, peer: str = "", allow: bool = True
) -> FirewallRule:
    return FirewallRule(
        direction=direction,
        allow=allow,
        protocol=protocol,
        first_port=port,
        last_port=port,
        peer=IPv4Network(peer) if peer else None,
    )


def test_without_rules_everything_comes_in_and_goes_out(lab: Lab) -> None:
    """So each of these questions can be answered."""
    lab.wall()
    lab.come_in(_everybody(*COMING_IN))
    lab.go_out(*GOING_OUT)


def test_what_comes_in_is_what_the_first_rule_that_fits_says_also_after_a_change(lab: Lab) -> None:
    second_not = _rule(IN, TCP, 22, peer="192.168.57.12/32", allow=False)
    eight_to_eleven = _rule(IN, PING, peer="192.168.57.8/30")
    lab.wall(second_not, _rule(IN, TCP, 22), _rule(IN, UDP, 1000), eight_to_eleven, allow_in=False)
    most = {"tcp 22", "tcp 22 by IPv6", "udp 1000"}
    lab.come_in(_everybody(*most) | {"neighbour": most | {"ping"}, "second": most - {"tcp 22"}})
    ours, segments = _rule(IN, TCP, 22, peer="192.168.57.0/24"), _rule(IN, TCP, 23, peer="198.51.100.0/24")
    lab.wall(segments, ours, second_not, _rule(IN, PING), allow_in=False)
    here, there = {"tcp 22", "ping"}, {"tcp 23", "ping"}
    lab.come_in({"neighbour": here, "second": here, "host": here, "near": there, "beside": there})


def test_where_nothing_is_let_in_answers_come_all_the_same(lab: Lab) -> None:
    lab.wall(allow_in=False)
    lab.come_in(_everybody())
    lab.go_out(*GOING_OUT)


def test_what_goes_out_is_what_a_rule_lets_out_and_answers(lab: Lab) -> None:
    lab.wall(_rule(OUT, TCP, 8080, peer="203.0.113.0/24"), allow_out=False)
    lab.go_out("page outside")
    lab.come_in(_everybody(*COMING_IN))
    near_not = _rule(OUT, PING, peer=f"{Switch.NEIGHBOUR}/32", allow=False)
    pages, names = _rule(OUT, TCP, 8080, peer="198.51.100.0/24"), _rule(OUT, UDP, 53)
    lab.wall(near_not, pages, names, _rule(OUT, PING), allow_out=False)
    lab.go_out("page in the segment", "name", "ping outside", "ping the router")


def test_an_open_connection_ends_with_its_rule_and_goes_on_when_that_is_back(lab: Lab) -> None:
    rules = _rule(IN, TCP, 24), _rule(IN, TCP, 22)
    lab.wall(*rules, allow_in=False)
    with ExitStack() as stack:
        begun = [
            stack.enter_context(in_namespace(who.name, functools.partial(socket.create_connection, to, 10)))
            for who, to in ((lab.host, (HERE[0], 24)), (lab.near, (THERE[0], 24)))
        ]

        def told(words: bytes) -> None:
            for connection in begun:
                connection.sendall(words)

        def heard(seconds: float) -> list[bytes]:
            return [_received(connection, seconds) for connection in begun]

        told(b"one")
        assert heard(10) == [b"one", b"one"]
        lab.wall(*rules[1:], allow_in=False)
        told(b"two")
        assert heard(1) == [b"", b""]
        lab.wall(*rules, allow_in=False)
        assert heard(20) == [b"two", b"two"]  # TCP has sent it again


def _received(connection: socket.socket, seconds: float) -> bytes:
    connection.settimeout(seconds)
    try:
        return connection.recv(100)
    except TimeoutError:
        return b""


def test_published_ports_are_reached_by_everybody_whatever_the_firewall_says(lab: Lab) -> None:
    lab.wall(allow_in=False)

    def published(*addresses: str) -> dict[str, str]:
        asked = {}
        for at in addresses:
            asked[f"web at {at}"] = f"tcp {at} {WEB.host_port} | grep -qx 'tcp 80'"
            asked[f"call at {at}"] = f"udp {at} {CALLS.host_port} | grep -qx 'udp 5000'"
        return asked

    everywhere: dict[str, tuple[Asker, dict[str, str]]] = {
        "outside": (lab.outside, published(HOST_OUTSIDE, HOST_OUTSIDE6)),
        "host": (lab.host, published(HOST_OUTSIDE, HOST_OUTSIDE6)),
        "neighbour": (lab.neighbour, published(HOST_OUTSIDE, str(LAB.gateway))),
        "far": (lab.far, published(HOST_OUTSIDE, HOST_OUTSIDE6, str(OTHER.gateway))),
    }
    itself = {"web": f"tcp {HERE[0]} 80 | grep -q tcp", "ssh": f"tcp {HERE[0]} 22 | grep -q tcp"}
    other_card = {"web": f"tcp {THERE[0]} 80 | grep -q tcp"}
    expected = {name: set(asked) for name, (_, asked) in everywhere.items()}
    for neighbour in ("host", "neighbour"):
        expected[neighbour].add("web")
    settle(
        {name: (who, asked | itself) for name, (who, asked) in everywhere.items()}
        | {"beside": (lab.beside, other_card)},
        expected | {"beside": set()},
    )


def test_networks_are_apart_and_a_router_gives_addresses_and_names_and_nothing_else(lab: Lab) -> None:
    lab.wall()
    page, name = "page {} | grep -q ' 200 '", f"timeout 2 nslookup -type=a {NAME} {{}}"
    own = {
        "ping its router": f"ping -c 1 -W 2 {OTHER.gateway}",
        "ping its router by IPv6": f"ping -c 1 -W 2 {OTHER.gateway6}",
        "name": name.format(OTHER.gateway),
        "page outside": page.format(OUTSIDE),
        "ping outside by IPv6": f"ping -c 1 -W 2 {OUTSIDE6}",
    }
    not_its_own = {
        "ping": f"ping -c 1 -W 2 {HERE[0]}",
        "ping by IPv6": f"ping -c 1 -W 2 {HERE[1]}",
        "ssh": f"tcp {HERE[0]} 22 | grep -q tcp",
        "ssh by IPv6": f"tcp {HERE[1]} 22 | grep -q tcp",
        "ping the other router": f"ping -c 1 -W 2 {LAB.gateway}",
        "ping the other router by IPv6": f"ping -c 1 -W 2 {LAB.gateway6}",
        "ping the host": f"ping -c 1 -W 2 {HOST_OUTSIDE}",
        "page of the host": page.format(OTHER.gateway),
        "page of the host at the other router": page.format(LAB.gateway),
        "page of the host outside": page.format(HOST_OUTSIDE),
    }
    far = {
        "ping far": f"ping -c 1 -W 2 {lab.far.four}",
        "ssh of far": f"tcp {lab.far.four} 22 | grep -q tcp",
        "ssh of far by IPv6": f"tcp {lab.far.six} 22 | grep -q tcp",
    }
    ours = {"name at the other router": name.format(LAB.gateway)}
    with _page_of(lab.host):
        settle(
            {
                "far": (lab.far, own | not_its_own | ours),
                "neighbour": (lab.neighbour, ours | far),
                "host": (lab.host, not_its_own | far),
            },
            {"far": set(own), "neighbour": set(ours), "host": {*not_its_own, *far}},
        )


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def _page_of(who: Namespace) -> Iterator[None]:
    """A program of that computer serves a page at each of its addresses."""
    server = in_namespace(who.name, lambda: http.server.ThreadingHTTPServer(("", 8080), _Page))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


_ADVERTISE = f"""
printf 'interface eth0 {{ AdvSendAdvert on; AdvIntervalOpt on; MinRtrAdvInterval 0.1; MaxRtrAdvInterval 0.3;
AdvDefaultLifetime 9000; prefix {FALSE}/64 {{ }}; }};' >/radvd.conf
echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
before=$(counted Icmp6OutRouterAdvertisements)
radvd -n -d 1 -C /radvd.conf -p /radvd.pid -m none &
until [ "$(counted Icmp6OutRouterAdvertisements)" -gt $((before + 2)) ]; do sleep 0.1; done
"""


def test_a_false_router_is_heard_by_neither_machines_nor_computers_nor_the_host(lab: Lab) -> None:
    lab.wall()
    for thief, victims in (
        (lab.second, (HERE[1], "fd57::b")),
        (lab.thief, (THERE[1], lab.beside.six, "2001:db8:7::ff", "2001:db8:7::b")),
    ):
        # What is sent later arrives later: where the answers are there, what was advertised would be.
        reached = "".join(f"ping -c 1 -W 3 {victim} >/dev/null && echo {victim}\n" for victim in victims)
        assert tuple(thief.does(f"{_ADVERTISE}{reached}kill $!; wait").splitlines()) == victims
    hearing: tuple[Asker, ...] = (lab.walled, lab.neighbour, lab.beside, lab.host, lab.near)
    believed = [who.does("ip -6 addr; ip -6 route") for who in hearing]
    assert [words for words in believed if FALSE in words] == []


def test_false_dhcp_servers_are_heard_by_nobody_even_where_no_other_one_speaks(lab: Lab) -> None:
    lab.wall()
    offers = {lab.walled.card(LAB).mac: "192.168.57.200"}, {lab.walled.card(SEGMENT).mac: "198.51.100.200"}
    for who, link in ((lab.near, Switch.CARD), (lab.host, SEGMENT.bridge)):
        mac = who.does(f"cat /sys/class/net/{link}/address").strip()
        offers[1][mac] = f"198.51.100.{200 + len(offers[1])}"
    thieves = ((lab.second, HERE[1], offers[0]), (lab.thief, THERE[1], offers[1]))
    for thief, _, offer in thieves:
        thief.does(_serving_addresses(thief.name, offer))
    ask = "busybox udhcpc -i {} -s /bin/true -q -n -t 1 -T 2"
    try:
        with _silent(processes_of(lab.place.folder, DNSMASQ)):
            lab.walled.does(_ASKING_BY_DHCPV6)
            settle(
                {
                    "walled": (lab.walled, {"here": ask.format("eth0"), "there": ask.format("eth1")}),
                    "near": (lab.near, {"there": ask.format(Switch.CARD)}),
                    "host": (lab.host, {"there": ask.format(SEGMENT.bridge)}),
                },
                {"walled": set(), "near": set(), "host": set()},
            )
            for thief, victim, offer in thieves:
                # It has answered all of them, and what is sent later arrives later.
                answered = f"until grep -q 'transmit advertise' /six-{thief.name}.log; do sleep 0.1; done"
                assert "1 packets received" in thief.does(f"{answered}; ping -c 1 -W 3 {victim}")
                log = thief.does(f"cat /four-{thief.name}.log")
                assert [address for address in offer.values() if f"OFFER to {address}" not in log] == []
            assert "advertise" not in lab.walled.does("cat /six.log")
    finally:
        lab.walled.does("kill -9 $(cat /six.pid)")
        for thief, *_ in thieves:
            thief.does(f"kill $(cat /four-{thief.name}.pid /six-{thief.name}.pid)")


_ASKING_BY_DHCPV6 = """
printf 'interface eth0 { send ia-na 0; };\\ninterface eth1 { send ia-na 1; };\\n' >/six.conf
printf 'id-assoc na 0 { };\\nid-assoc na 1 { };\\n' >>/six.conf
dhcp6c -f -D -c /six.conf eth0 eth1 >/six.log 2>&1 &
echo $! >/six.pid
"""


def _serving_addresses(name: str, offer: Mapping[str, str]) -> str:
    """Lines that serve DHCP, which offers these addresses to these MACs, and DHCPv6."""
    leases = "".join(f"static_lease {mac} {address}\n" for mac, address in offer.items())
    return f"""
cat >/four-{name}.conf <<C
start {min(offer.values())}
end {max(offer.values())}
interface eth0
lease_file /four-{name}.leases
pidfile /four-{name}.pid
{leases}C
: >/four-{name}.leases
udhcpd -f /four-{name}.conf >/four-{name}.log 2>&1 &
printf 'interface eth0 {{ address-pool false 3600; }};\\npool false {{ range {FALSE}100 to {FALSE}1ff; }};\\n' >/six.conf
dhcp6s -f -D -c /six.conf eth0 >/six-{name}.log 2>&1 &
echo $! >/six-{name}.pid
until netstat -uln | grep -q ':67 ' && netstat -uln | grep -q ':547 '; do sleep 0.1; done
"""


@contextmanager
def _silent(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_what_a_machine_says_of_a_shorter_way_is_heard_by_nobody(lab: Lab) -> None:
    """It forwards what it is handed by the way that it came: then a kernel tells the sender to leave it out (a redirect)."""
    lab.wall()
    asked = ""
    for thief, card, number in ((lab.second, "eth0", 98), (lab.thief, "eth1", 99)):
        target, target6 = f"203.0.113.{number}", f"2001:db8:{number}::1"
        by6 = link_local(thief.nic.mac)
        thief.does(
            "for family in ipv4 ipv6; do echo 1 >/proc/sys/net/$family/conf/all/forwarding; done\n"
            f"ip route add {target} dev eth0; ip -6 route add {target6} dev eth0"
        )
        asked += f"ip route add {target} via {thief.four}; ip -6 route add {target6} via {by6} dev {card}\n"
        asked += f"ping -c 1 -W 1 {target} &\nping -c 1 -W 1 {target6} &\n"
    lab.walled.does(f"{asked}wait")
    for thief in (lab.second, lab.thief):
        four, six = thief.does("counted OutRedirects; counted Icmp6OutRedirects").split()
        assert int(four) > 0
        assert int(six) > 0
    assert lab.walled.does("counted InRedirects; counted Icmp6InRedirects").split() == ["0", "0"]


def test_who_takes_its_neighbours_mac_takes_nothing_from_it_and_is_heard_by_nobody(lab: Lab) -> None:
    lab.wall()
    all_five = "ping -c 5 -i 0.2 -W 2 {} | grep -q ', 5 '"
    for thief, beside, at, bridge, witness, link, address in (
        (lab.second, lab.neighbour, HERE[0], bridge_name(LAB.id), lab.host, bridge_name(LAB.id), LAB.gateway),
        (lab.thief, lab.beside, THERE[0], SEGMENT.bridge, lab.near, Switch.CARD, Switch.NEIGHBOUR),
    ):
        victim = lab.walled.card(thief.nic.network)
        to_mac = witness.does(f"cat /sys/class/net/{link}/address")
        with in_namespace(witness.name, functools.partial(_ear, link)) as ear:
            thief.does(_with_mac(victim.mac, thief) + _SPEAKING.format(own=thief, to=address, to_mac=to_mac))
            settle(
                {
                    "witness": (witness, {"reaches it": all_five.format(at)}),
                    "beside": (beside, {"reaches it": all_five.format(at)}),
                    "walled": (lab.walled, {"reaches all": all_five.format(address)}),
                },
                {"witness": {"reaches it"}, "beside": {"reaches it"}, "walled": {"reaches all"}},
            )
            entries = lab.host.does(f"bridge fdb show br {bridge}")
            assert re.findall(rf"{victim.mac} dev (\S+)", entries) == [tap_name(victim)]
            # What is sent later arrives later.
            last = f"kill $(cat /speaking.pid){_with_mac(thief.nic.mac, thief)}ping -c 1 -W 3 {address}"
            assert "1 packets received" in thief.does(last)
            own = IPv4Address(thief.four).packed
            senders = {frame[6:12].hex(":") for frame in _frames(ear) if own in frame[26:32]}
        assert senders == {thief.nic.mac}


def _with_mac(mac: str, own: Room) -> str:
    return f"\nip link set eth0 down; ip link set eth0 address {mac}; addresses eth0 {own.six}/64\n"


_SPEAKING = """
arp -s {to} {to_mac}
before=$(counted OutEchos)
while true; do ping -c 1 -W 1 {to}; arping -c 1 -w 1 -A -I eth0 {own.four}; done >/dev/null 2>&1 &
echo $! >/speaking.pid
until [ "$(counted OutEchos)" -gt $((before + 1)) ]; do sleep 0.1; done
"""


def _ear(link: str) -> socket.socket:
    """Hears whole frames (packet(7))."""
    every_kind = 3
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(every_kind))
    opened.bind((link, every_kind))
    opened.setblocking(False)
    return opened


def _frames(ear: socket.socket) -> list[bytes]:
    frames = []
    with suppress(BlockingIOError):
        while True:
            frames.append(ear.recv(4096))
    return frames
