"""A machine's firewall on one card: its rules, and the flows that they have let through.

Not every kernel can track connections in the bridge family, so what was let through is noted in sets of the card's own, and
whatever fits a note is an answer. Notes end by themselves: TCP after a day without data (what only asks whether the other end
is alive carries none), or two minutes while it begins or ends; UDP after three; pings, fragments and other protocols after one.
The sets are bounded and no other card's, so a guest that fills them starves itself alone; where one is full, what the rules
allow still passes, only its answers need a rule of their own. Nothing is noted of a direction whose answers pass anyway.

What begins a flow passes the rules each time, so a rule that is taken back ends its flows at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from workers.contract.networks import Direction, FirewallRule, FirewallSpec, Protocol, PublishedPort
from workers.plan.rulesets.parts import Part, Place

MOST_FLOWS = 16384
"""Flows that are noted of a card and a family of addresses."""

_NEITHER_PORTS_NOR_ICMP = (
    "meta l4proto != tcp meta l4proto != udp meta l4proto != icmp meta l4proto != ipv6-icmp"
)


@dataclass(frozen=True)
class Flows:
    """The sets of one card, keyed from the machine's side: protocol, own address and port, the other's address and port."""

    tap: str
    has_ipv6: bool

    @property
    def families(self) -> tuple[tuple[str, str, str], ...]:
        """nft's word for the family, the ending of its sets' names, the type of its addresses."""
        ipv6 = (("ip6", "6", "ipv6_addr"),) if self.has_ipv6 else ()
        return (("ip", "4", "ipv4_addr"), *ipv6)

    def sets(self) -> dict[Place, str]:
        """Their declarations. Talks are what has no ports: pings, later fragments, other protocols."""
        bound = f"size {MOST_FLOWS}; flags dynamic,timeout;"
        return {
            ("bridge", f"{kind}{ending}_{self.tap}"): f"type {key}; {bound}"
            for _, ending, address in self.families
            for kind, key in (
                ("flows", f"inet_proto . {address} . inet_service . {address} . inet_service"),
                ("talks", f"inet_proto . {address} . {address}"),
            )
        }

    def notes(self, direction: Direction) -> tuple[str, ...]:
        """Rules that note a packet which is let through, or that its flow still lives."""
        rules: list[str] = []
        for family, ending, _ in self.families:
            flow, flows = self._flow(family, direction), f"@flows{ending}_{self.tap}"
            talk, talks = self._talk(family, direction), f"@talks{ending}_{self.tap}"
            echo = "icmp type echo-request" if family == "ip" else "icmpv6 type echo-request"
            rules += [
                f"tcp flags & (fin | syn | rst) != 0 update {flows} {{ {flow} timeout 2m }} accept",
                f"tcp flags & psh != 0 update {flows} {{ {flow} timeout 1d }} accept",
                f"meta l4proto tcp add {flows} {{ {flow} timeout 2m }} accept",
                f"meta l4proto udp update {flows} {{ {flow} timeout 3m }} accept",
                f"{echo} update {talks} {{ {talk} timeout 1m }} accept",
                f"{_NEITHER_PORTS_NOR_ICMP} update {talks} {{ {talk} timeout 1m }} accept",
            ]
        return (*rules, "accept")

    def fragments(self, direction: Direction) -> tuple[str, ...]:
        """Rules that note the first fragment of a packet that is let through, for those after it."""
        rules = [
            f"ip frag-off & 0x3fff == 0x2000 update @talks4_{self.tap} {{ {self._talk('ip', direction)} timeout 1m }}"
        ]
        if self.has_ipv6:
            rules.append(
                f"frag frag-off 0 frag more-fragments 1 "
                f"update @talks6_{self.tap} {{ {self._talk('ip6', direction)} timeout 1m }}"
            )
        return tuple(rules)

    def answers(self, direction: Direction, verdict: str) -> tuple[str, ...]:
        """Rules that know a packet of a noted flow."""
        rules: list[str] = []
        for family, ending, _ in self.families:
            talk = f"{self._talk(family, direction)} @talks{ending}_{self.tap}"
            later = "ip frag-off & 0x1fff != 0" if family == "ip" else "frag frag-off != 0"
            echo = "icmp type echo-reply" if family == "ip" else "icmpv6 type echo-reply"
            rules += [
                f"{self._flow(family, direction)} @flows{ending}_{self.tap} {verdict}",
                f"{echo} {talk} accept",
                f"{later} {talk} accept",
                f"{_NEITHER_PORTS_NOR_ICMP} {talk} {verdict}",
            ]
        return tuple(rules)

    def _flow(self, family: str, direction: Direction) -> str:
        own, other = ("s", "d") if direction is Direction.OUT else ("d", "s")
        return f"meta l4proto . {family} {own}addr . th {own}port . {family} {other}addr . th {other}port"

    def _talk(self, family: str, direction: Direction) -> str:
        own, other = ("s", "d") if direction is Direction.OUT else ("d", "s")
        return f"meta l4proto . {family} {own}addr . {family} {other}addr"


@dataclass(frozen=True)
class Passing:
    """A firewall as rules: what follows on the card's own checks of a frame, and the chains and sets that this needs."""

    after_spoofing: tuple[str, ...]
    part: Part


def firewall_part(
    flows: Flows, firewall: FirewallSpec | None, ports: Sequence[PublishedPort], gateway: IPv4Address | None
) -> Passing:
    """The firewall of a card; without one, or with one that lets everything through, all passes.

    `gateway` is the DHCP server that a lease is renewed at, without which it is asked for again by broadcast.
    """
    renew = () if gateway is None else (f"ip daddr {gateway} udp sport 68 udp dport 67 accept",)
    renewal = {Direction.OUT: renew, Direction.IN: ()}
    guarded = {
        Direction.IN: firewall is not None and not _lets_all(firewall, Direction.IN),
        Direction.OUT: firewall is not None and not _lets_all(firewall, Direction.OUT),
    }
    if firewall is None or not any(guarded.values()):
        return Passing(("accept",), Part())
    tap = flows.tap
    chains: dict[Place, tuple[str, ...]] = {}
    steps: dict[Direction, tuple[str, ...]] = {}
    for direction in (Direction.OUT, Direction.IN):
        word = direction.value
        opposite_guarded = guarded[Direction.IN if direction is Direction.OUT else Direction.OUT]
        chains["bridge", f"note_{word}_{tap}"] = flows.notes(direction)
        begin = _begins(flows, firewall, ports, direction) if opposite_guarded else ("accept",)
        if not guarded[direction]:
            steps[direction] = begin
            continue
        chains["bridge", f"let_{word}_{tap}"] = (*flows.fragments(direction), *begin)
        let = f"goto let_{word}_{tap}"
        published = [
            f"{port.protocol.value} dport {port.guest_port} {let}"
            for port in ports
            if direction is Direction.IN
        ]
        allowed = firewall.allow_in if direction is Direction.IN else firewall.allow_out
        here = [rule for rule in firewall.rules if rule.direction is direction]
        ruled = [line for rule in here for line in _rule(rule, let if rule.allow else "drop")]
        steps[direction] = (
            f"jump always_{word}",
            *renewal[direction],
            *flows.answers(direction, f"goto note_{word}_{tap}"),
            *published,
            *ruled,
            let if allowed else "drop",
        )
    chains["bridge", f"to_{tap}"] = steps[Direction.IN]
    return Passing(steps[Direction.OUT], Part(chains=chains, sets=flows.sets()))


def _begins(
    flows: Flows, firewall: FirewallSpec, ports: Sequence[PublishedPort], direction: Direction
) -> tuple[str, ...]:
    """What may go in a direction is noted, unless its answers pass by a rule of the opposite one.

    So nobody fills a server's notes by asking it at a port that is open.
    """
    note = f"goto note_{direction.value}_{flows.tap}"
    published = (
        [f"{port.protocol.value} sport {port.guest_port} accept" for port in ports]
        if direction is Direction.OUT
        else []
    )
    opposite = [
        rule
        for rule in firewall.rules
        if rule.direction is not direction and rule.protocol is not Protocol.PING
    ]
    lines = [
        line for rule in opposite for line in _rule(rule, "accept" if rule.allow else note, is_answer=True)
    ]
    by_default = firewall.allow_in if direction is Direction.OUT else firewall.allow_out
    return (*published, *lines, "accept" if by_default else note)


def _lets_all(firewall: FirewallSpec, direction: Direction) -> bool:
    default = firewall.allow_in if direction is Direction.IN else firewall.allow_out
    return default and all(rule.allow for rule in firewall.rules if rule.direction is direction)


def _rule(rule: FirewallRule, verdict: str, *, is_answer: bool = False) -> list[str]:
    """One rule in nft's words (one that is about both families of ping is two), or what answers to it look like."""
    ends = ("saddr", "daddr") if rule.direction is Direction.IN else ("daddr", "saddr")
    words: list[str] = []
    if rule.peer is not None:
        family = "ip" if rule.peer.version == 4 else "ip6"
        everyone = f"meta protocol {family}"
        words.append(f"{family} {ends[is_answer]} {rule.peer}" if rule.peer.prefixlen else everyone)
    if rule.protocol is Protocol.PING:
        pings = {4: "icmp type echo-request", 6: "icmpv6 type echo-request"}
        versions = (4, 6) if rule.peer is None else (rule.peer.version,)
        return [" ".join([*words, pings[version], verdict]) for version in versions]
    if rule.first_port is not None:
        one = rule.first_port == rule.last_port
        ports = f"{rule.first_port}" if one else f"{rule.first_port}-{rule.last_port}"
        words.append(f"{rule.protocol.value} {'sport' if is_answer else 'dport'} {ports}")
    elif rule.protocol is not Protocol.ANY:
        words.append(f"meta l4proto {rule.protocol.value}")
    return [" ".join([*words, verdict])]
