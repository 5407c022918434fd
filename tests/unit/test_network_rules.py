"""The host's rules on paper: whole results, compared."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from uuid import UUID

import pytest

from tests.lab.wishes import PRIVATE
from workers.contract.networks import (
    Direction,
    FirewallRule,
    FirewallSpec,
    NetworkKind,
    NetworkSpec,
    Protocol,
    PublishedPort,
)
from workers.plan.network import PluggedNic, WiredNetwork
from workers.plan.rulesets.cards import card_part, link_local
from workers.plan.rulesets.changes import change_of, differing, script, whole
from workers.plan.rulesets.listing import comparable
from workers.plan.rulesets.parts import SKELETON, Part, Parts
from workers.plan.rulesets.routes import network_part
from workers.plan.rulesets.wanted import parts_of, ruleset

TAP, MAC, BRIDGE = "ot00000a", "52:54:00:00:00:0a", "ob5b1f2c9e7a34"
NIC = PluggedNic(tap=TAP, mac=MAC, address=IPv4Address("192.168.57.10"))
DUAL = NetworkSpec(
    id=PRIVATE.id, subnet=IPv4Network("192.168.57.0/24"), subnet6=IPv6Network("fd57:1::/64"), domain="lab"
)
SEGMENT = NetworkSpec(id=UUID(int=7), kind=NetworkKind.BRIDGED, bridge="br-lan")
ALONE = NetworkSpec(id=UUID(int=8), kind=NetworkKind.ISOLATED, subnet=IPv4Network("10.9.0.0/24"))
SSH_ONLY = FirewallSpec(
    allow_in=False,
    allow_out=True,
    rules=(
        FirewallRule(direction=Direction.IN, allow=True, protocol=Protocol.TCP, first_port=22, last_port=22),
        FirewallRule(direction=Direction.IN, allow=True, protocol=Protocol.PING),
    ),
)
WEB = PublishedPort(protocol=Protocol.TCP, host_port=8080, guest_port=80)
HEAD = [
    "table inet offshoot",
    "delete table inet offshoot",
    "table bridge offshoot",
    "delete table bridge offshoot",
]


def test_the_rules_of_one_card_whole() -> None:
    expected = f"""table inet offshoot {{
chain leaving_{BRIDGE} {{
oifname "{BRIDGE}" accept
ct status dnat accept
oifname @bridges ct state established,related accept
oifname @bridges drop
ip saddr 192.168.57.0/24 accept
drop
}}
chain coming_{BRIDGE} {{
ct state established,related accept
ct status dnat accept
drop
}}
chain entering_{BRIDGE} {{
ct state established,related accept
meta nfproto ipv4 udp sport 68 udp dport 67 accept
ip daddr 192.168.57.1 udp dport 53 accept
ip daddr 192.168.57.1 tcp dport 53 accept
ip daddr 192.168.57.1 icmp type echo-request accept
drop
}}
chain translating_{BRIDGE} {{
oifname "{BRIDGE}" ct status dnat masquerade
oifname @bridges return
ip saddr 192.168.57.0/24 masquerade
}}
}}
table bridge offshoot {{
chain from_{TAP} {{
ether saddr != {MAC} drop
jump no_guest_may
udp dport 67 @th,288,48 != 0x{MAC.replace(":", "")} drop
arp saddr ether != {MAC} drop
arp saddr ip != 192.168.57.10 arp saddr ip != 0.0.0.0 drop
ether type arp accept
ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept
ip saddr != 192.168.57.10 drop
ether type ip6 drop
accept
}}
}}
add element inet offshoot bridges {{ "{BRIDGE}" }}
add element inet offshoot leaving {{ "{BRIDGE}" : goto leaving_{BRIDGE} }}
add element inet offshoot coming {{ "{BRIDGE}" : goto coming_{BRIDGE} }}
add element inet offshoot entering {{ "{BRIDGE}" : goto entering_{BRIDGE} }}
add element inet offshoot translating {{ "{BRIDGE}" : goto translating_{BRIDGE} }}
add element bridge offshoot from_cards {{ "{TAP}" : goto from_{TAP} }}
"""
    assert ruleset([WiredNetwork(PRIVATE, (NIC,))]) == "\n".join(HEAD) + "\n" + SKELETON + expected


def test_without_networks_only_our_own_tables_are_removed() -> None:
    assert ruleset([]).splitlines() == HEAD


def test_an_isolated_network_lets_nothing_in_or_out_but_dhcp_and_names() -> None:
    bridge = "ob000000000000"
    assert network_part(ALONE).chains == {
        ("inet", f"leaving_{bridge}"): (f'oifname "{bridge}" accept', "drop"),
        ("inet", f"coming_{bridge}"): ("drop",),
        ("inet", f"entering_{bridge}"): (
            "ct state established,related accept",
            "meta nfproto ipv4 udp sport 68 udp dport 67 accept",
            "ip daddr 10.9.0.1 udp dport 53 accept",
            "ip daddr 10.9.0.1 tcp dport 53 accept",
            "drop",
        ),
    }


def test_a_bridged_network_has_rules_of_its_cards_only() -> None:
    parts = parts_of([WiredNetwork(SEGMENT, (replace(NIC, address=None),))])
    assert {name: part.chains for name, part in parts.items() if part != Part()} == {
        TAP: {
            ("bridge", f"from_{TAP}"): (
                f"ether saddr != {MAC} drop",
                "jump no_guest_may",
                f"udp dport 67 @th,288,48 != 0x{MAC.replace(':', '')} drop",
                f"arp saddr ether != {MAC} drop",
                "ether type arp accept",
                "accept",
            )
        }
    }


def test_routed_ipv6_keeps_its_addresses_and_is_reached_from_outside() -> None:
    hidden, routed = network_part(DUAL).chains, network_part(DUAL.model_copy(update={"routed6": True})).chains
    way_out, way_in = ("inet", f"translating_{BRIDGE}"), ("inet", f"coming_{BRIDGE}")
    assert "ip6 saddr fd57:1::/64 masquerade" in hidden[way_out]
    assert not any("ip6" in rule for rule in routed[way_out])
    assert not any("ip6" in rule for rule in hidden[way_in])
    assert routed[way_in][-2:] == ("ip6 daddr fd57:1::/64 accept", "drop")


def test_a_card_with_ipv6_may_not_say_that_it_is_another_or_the_router() -> None:
    part = card_part(DUAL, replace(NIC, address6=IPv6Address("fd57:1::10")))
    router = link_local("02:5b:1f:2c:9e:7a")
    assert part.chains["bridge", f"from_{TAP}"][-8:] == (
        f"icmpv6 type nd-neighbor-advert @th,64,128 {int(router):#x} drop",
        f"ip6 saddr :: icmpv6 type nd-neighbor-solicit @th,64,128 {int(router):#x} drop",
        "icmpv6 type nd-neighbor-advert @th,64,64 != 0xfe80000000000000 "
        "@th,64,128 != 0xfd570001000000000000000000000010 drop",
        "ip6 saddr :: icmpv6 type nd-neighbor-solicit @th,64,64 != 0xfe80000000000000 "
        "@th,64,128 != 0xfd570001000000000000000000000010 drop",
        "ip6 saddr :: goto from_nobody",
        f"ip6 saddr {router} drop",
        "ip6 saddr != fe80::/64 ip6 saddr != fd57:1::10 drop",
        "accept",
    )
    assert str(link_local("02:5b:1f:2c:9e:7a")) == "fe80::5b:1fff:fe2c:9e7a"


def test_a_firewall_lets_in_what_it_says_published_ports_and_answers() -> None:
    part = card_part(PRIVATE, replace(NIC, firewall=SSH_ONLY, ports=(WEB,)))
    assert part.chains["bridge", f"to_{TAP}"] == (
        "jump always_in",
        f"meta l4proto . ip daddr . th dport . ip saddr . th sport @flows4_{TAP} goto note_in_{TAP}",
        f"icmp type echo-reply meta l4proto . ip daddr . ip saddr @talks4_{TAP} accept",
        f"ip frag-off & 0x1fff != 0 meta l4proto . ip daddr . ip saddr @talks4_{TAP} accept",
        "meta l4proto != tcp meta l4proto != udp meta l4proto != icmp meta l4proto != ipv6-icmp "
        f"meta l4proto . ip daddr . ip saddr @talks4_{TAP} goto note_in_{TAP}",
        f"tcp dport 80 goto let_in_{TAP}",
        f"tcp dport 22 goto let_in_{TAP}",
        f"icmp type echo-request goto let_in_{TAP}",
        f"icmpv6 type echo-request goto let_in_{TAP}",
        "drop",
    )
    assert part.chains["bridge", f"from_{TAP}"][-3:] == (
        "tcp sport 80 accept",
        "tcp sport 22 accept",
        f"goto note_out_{TAP}",
    )
    assert part.elements == {
        ("bridge", "from_cards"): {f'"{TAP}"': f"goto from_{TAP}"},
        ("bridge", "to_cards"): {f'"{TAP}"': f"goto to_{TAP}"},
        ("inet", "published"): {"tcp . 8080": "192.168.57.10 . 80"},
    }


def test_the_first_rule_that_fits_decides_and_each_kind_has_its_words() -> None:
    rules = (
        FirewallRule(direction=Direction.OUT, allow=True, protocol=Protocol.UDP, peer=IPv4Network("10.0.0.0/8")),
        FirewallRule(direction=Direction.OUT, allow=False, protocol=Protocol.PING, peer=IPv6Network("fd00::/8")),
        FirewallRule(
            direction=Direction.OUT, allow=True, protocol=Protocol.TCP, first_port=80, last_port=90,
            peer=IPv4Network("0.0.0.0/0"),
        ),
        FirewallRule(direction=Direction.OUT, allow=False, peer=IPv4Network("192.0.2.1/32")),
        FirewallRule(direction=Direction.OUT, allow=True, protocol=Protocol.TCP),
    )  # fmt: skip
    firewall = FirewallSpec(allow_in=True, allow_out=False, rules=rules)
    chain = card_part(PRIVATE, replace(NIC, firewall=firewall)).chains["bridge", f"from_{TAP}"]
    let = f"goto let_out_{TAP}"
    assert chain[-6:] == (
        f"ip daddr 10.0.0.0/8 meta l4proto udp {let}",
        "ip6 daddr fd00::/8 icmpv6 type echo-request drop",
        f"meta protocol ip tcp dport 80-90 {let}",
        "ip daddr 192.0.2.1/32 drop",
        f"meta l4proto tcp {let}",
        "drop",
    )


def test_a_firewall_that_lets_everything_through_costs_nothing() -> None:
    everything = FirewallSpec(allow_in=True, allow_out=True)
    assert card_part(PRIVATE, replace(NIC, firewall=everything)) == card_part(PRIVATE, NIC)


@pytest.mark.parametrize("name", ['ot0"; flush ruleset; #', "ot0\ndrop", "ot } }", ""])
def test_no_name_of_a_card_can_put_words_into_the_script(name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        ruleset([WiredNetwork(PRIVATE, (replace(NIC, tap=name),))])


@pytest.mark.parametrize("mac", ["52:54:00:00:00:0a drop", "52:54:00:00:00:0a\naccept", "x"])
def test_no_mac_of_a_card_can_put_words_into_the_script(mac: str) -> None:
    with pytest.raises(ValueError, match="not a MAC"):
        ruleset([WiredNetwork(PRIVATE, (replace(NIC, mac=mac),))])


def _between(before: Parts, after: Parts) -> str:
    return script(change_of(differing(before, after)))


def test_one_more_card_is_only_its_own_lines() -> None:
    before = parts_of([WiredNetwork(PRIVATE, (NIC,))])
    more = PluggedNic(tap="ot00000b", mac="52:54:00:00:00:0b", address=IPv4Address("192.168.57.11"))
    after = parts_of([WiredNetwork(PRIVATE, (NIC, more))])
    added = _between(before, after)
    assert added.splitlines()[:3] == [
        "table bridge offshoot {",
        "chain from_ot00000b {",
        f"ether saddr != {more.mac} drop",
    ]
    assert (
        added.splitlines()[-1] == 'add element bridge offshoot from_cards { "ot00000b" : goto from_ot00000b }'
    )
    assert TAP not in added
    assert _between(after, before).splitlines() == [
        'delete element bridge offshoot from_cards { "ot00000b" }',
        "flush chain bridge offshoot from_ot00000b",
        "delete chain bridge offshoot from_ot00000b",
    ]
    assert _between(after, after) == ""


def test_a_changed_firewall_forgets_its_flows_and_no_other_cards() -> None:
    guarded = replace(NIC, firewall=SSH_ONLY)
    other = PluggedNic("ot00000b", "52:54:00:00:00:0b", IPv4Address("192.168.57.11"), firewall=SSH_ONLY)
    closed = replace(guarded, firewall=FirewallSpec(allow_in=False, allow_out=True))
    lines = _between(
        parts_of([WiredNetwork(PRIVATE, (guarded, other))]),
        parts_of([WiredNetwork(PRIVATE, (closed, other))]),
    )
    flushed = [line for line in lines.splitlines() if line.startswith("flush set")]
    assert flushed == [f"flush set bridge offshoot flows4_{TAP}", f"flush set bridge offshoot talks4_{TAP}"]
    assert "ot00000b" not in lines


def test_a_listing_is_the_same_in_another_order_and_another_with_one_more_rule() -> None:
    chain, elements = "\tchain c {\n\t\tdrop\n\t}\n", '"a" : drop,\n\t\t\t     "b" : accept'
    first = f"table inet x {{\n\tmap m {{\n\t\telements = {{ {elements} }}\n\t}}\n\n{chain}}}\n"
    other = f'table inet x {{\n{chain}\n\tmap m {{\n\t\telements = {{ "b" : accept, "a" : drop }}\n\t}}\n}}\n'
    assert comparable(first) == comparable(other)
    assert comparable(first) != comparable(first.replace("\t\tdrop\n", "\t\taccept\n\t\tdrop\n"))
    assert comparable(first) != comparable(first.replace('"a" : drop', '"c" : drop'))


def test_the_whole_removes_what_was_there_before() -> None:
    assert whole(parts_of([WiredNetwork(PRIVATE, (NIC,))])).splitlines()[:4] == HEAD
