"""What our two tables consist of: a skeleton, and parts that come, change and go.

A part is what one network or one card needs: chains of its own, sets of its own, and elements in the maps through which the
fixed chains find them. So a packet looks its card up once, however many cards there are, and one more card adds a few lines.

Sources: nft(8). nft reads statements line by line: each rule stands on a line of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

TABLE = "offshoot"

Place = tuple[str, str]
"""A family of tables, and a name in our table of that family."""

SKELETON = f"""table inet {TABLE} {{
set bridges {{ type ifname; }}
map leaving {{ type ifname : verdict; }}
map coming {{ type ifname : verdict; }}
map entering {{ type ifname : verdict; }}
map translating {{ type ifname : verdict; }}
map published {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
map published6 {{ type inet_proto . inet_service : ipv6_addr . inet_service; }}
chain forward {{
type filter hook forward priority filter; policy accept;
iifname vmap @leaving
oifname vmap @coming
}}
chain input {{
type filter hook input priority filter; policy accept;
iifname vmap @entering
}}
chain prerouting {{
type nat hook prerouting priority dstnat; policy accept;
fib daddr type local dnat ip to meta l4proto . th dport map @published
fib daddr type local dnat ip6 to meta l4proto . th dport map @published6
}}
chain output {{
type nat hook output priority -100; policy accept;
oifname "lo" ip daddr != 127.0.0.0/8 dnat ip to meta l4proto . th dport map @published
oifname "lo" ip6 daddr != ::1 dnat ip6 to meta l4proto . th dport map @published6
}}
chain postrouting {{
type nat hook postrouting priority srcnat; policy accept;
iifname vmap @translating
}}
}}
table bridge {TABLE} {{
map from_cards {{ type ifname : verdict; }}
map to_cards {{ type ifname : verdict; }}
chain no_guest_may {{
ether type != {{ ip, arp, ip6 }} drop
arp htype != 1 drop
arp ptype != ip drop
arp plen != 4 drop
udp sport {{ 67, 547 }} drop
udp dport {{ 68, 546 }} drop
ip frag-off & 0x3fff != 0 udp dport 67 drop
icmpv6 type {{ nd-router-advert, nd-redirect, mld-listener-query, 151, 153 }} drop
icmp type {{ redirect, router-advertisement }} drop
igmp type membership-query drop
}}
chain from_nobody {{
icmpv6 type {{ nd-neighbor-solicit, nd-router-solicit, mld2-listener-report }} accept
drop
}}
chain always_out {{
ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept
ip6 saddr fe80::/64 udp sport 546 udp dport 547 accept
icmpv6 type {{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert }} accept
icmpv6 type {{ mld-listener-report, mld-listener-done, mld2-listener-report }} accept
icmpv6 type {{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem }} accept
icmp type {{ destination-unreachable, time-exceeded, parameter-problem }} accept
}}
chain always_in {{
ether type arp accept
udp sport 67 udp dport 68 accept
ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
icmpv6 type {{ nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, nd-redirect, mld-listener-query }} accept
icmpv6 type {{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem }} accept
icmp type {{ destination-unreachable, time-exceeded, parameter-problem }} accept
}}
chain prerouting {{
type filter hook prerouting priority filter; policy accept;
iifname vmap @from_cards
}}
chain postrouting {{
type filter hook postrouting priority filter; policy accept;
oifname vmap @to_cards
}}
}}
"""
"""What is there as long as any network is. A port of the host is published at every address of the host but loopback's."""

MAPS: tuple[tuple[str, Place], ...] = (
    ("set", ("inet", "bridges")),
    *(("map", ("inet", name)) for name in ("leaving", "coming", "entering", "translating", "published", "published6")),
    ("map", ("bridge", "from_cards")),
    ("map", ("bridge", "to_cards")),
)  # fmt: skip
"""Where parts put elements."""


@dataclass(frozen=True)
class Part:
    """What one network or one card needs. Chains are rules by name, sets declarations, elements values by key ("": a set's)."""

    chains: Mapping[Place, tuple[str, ...]] = field(default_factory=dict)
    sets: Mapping[Place, str] = field(default_factory=dict)
    elements: Mapping[Place, Mapping[str, str]] = field(default_factory=dict)


Parts = Mapping[str, Part]
"""Parts by the name of what they are for: a bridge, a tap."""
