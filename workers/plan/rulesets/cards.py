"""The part of one card: what may come out of it, what its machine's firewall lets through, its published ports (family bridge).

Frames from a card are seen in prerouting, before the bridge decides where they go; frames to it in postrouting, wherever they
come from: a neighbour, the world, the host itself. A card may speak as itself alone: its MAC, its addresses, IP and ARP
without VLAN tags, and nothing that a router or a DHCP server says; nor may it ask a DHCP server in another's name.

A link-local IPv6 address may be any of fe80::/64 but the gateway's, since guests choose theirs at random (RFC 7217). In a
bridged network an address that is not set is not known: then any source of the card's MAC passes.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address

from workers.contract.networks import NetworkKind, NetworkSpec, PublishedPort
from workers.plan.names import bridge_mac
from workers.plan.network import PluggedNic
from workers.plan.rulesets.flows import Flows, firewall_part
from workers.plan.rulesets.parts import Part, Place

_LINK_LOCAL_START = "0xfe80000000000000"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,14}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def card_part(network: NetworkSpec, nic: PluggedNic) -> Part:
    """Chains, sets and elements of a card in its network. Raises ValueError for a name or MAC that is none."""
    if not _NAME.fullmatch(nic.tap):
        raise ValueError(f"{nic.tap!r} is not a name of a tap")
    if not _MAC.fullmatch(nic.mac):
        raise ValueError(f"{nic.mac!r} is not a MAC")
    bridged = network.kind is NetworkKind.BRIDGED
    has_ipv6 = nic.address6 is not None or bridged
    flows = Flows(nic.tap, has_ipv6=has_ipv6)
    passing = firewall_part(flows, nic.firewall, nic.ports, None if bridged else network.gateway)
    rules = (*_as_itself(network, nic), *passing.after_spoofing)
    elements: dict[Place, dict[str, str]] = {
        ("bridge", "from_cards"): {f'"{nic.tap}"': f"goto from_{nic.tap}"},
    }
    if ("bridge", f"to_{nic.tap}") in passing.part.chains:
        elements[("bridge", "to_cards")] = {f'"{nic.tap}"': f"goto to_{nic.tap}"}
    if nic.ports and nic.address is not None and network.kind is NetworkKind.NAT:
        elements[("inet", "published")] = {_port(p): f"{nic.address} . {p.guest_port}" for p in nic.ports}
        if nic.address6 is not None:
            elements[("inet", "published6")] = {
                _port(p): f"{nic.address6} . {p.guest_port}" for p in nic.ports
            }
    return Part(
        chains={("bridge", f"from_{nic.tap}"): rules, **passing.part.chains},
        sets=passing.part.sets,
        elements=elements,
    )


def link_local(mac: str) -> IPv6Address:
    """The link-local address that an interface makes of its MAC (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    return IPv6Address(
        b"\xfe\x80" + bytes(6) + bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    )


def _as_itself(network: NetworkSpec, nic: PluggedNic) -> tuple[str, ...]:
    """Everything that is not the card's own is dropped; what is, goes on to the rules that follow."""
    own = str(nic.address) if nic.address is not None else None
    rules = [
        f"ether saddr != {nic.mac} drop",
        "jump no_guest_may",
        # The MAC for which a DHCP server is asked stands in the question itself (RFC 2131, chaddr).
        f"udp dport 67 @th,288,48 != 0x{nic.mac.replace(':', '')} drop",
        f"arp saddr ether != {nic.mac} drop",
        *([f"arp saddr ip != {own} arp saddr ip != 0.0.0.0 drop"] if own else []),
        "ether type arp accept",
    ]
    if own:
        rules += [
            "ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept",
            f"ip saddr != {own} drop",
        ]
    return (*rules, *_ipv6(network, nic))


def _ipv6(network: NetworkSpec, nic: PluggedNic) -> list[str]:
    own = nic.address6
    if own is None:
        return [] if network.kind is NetworkKind.BRIDGED else ["ether type ip6 drop"]
    router = link_local(bridge_mac(network.id)) if network.kind is not NetworkKind.BRIDGED else None
    advert, solicit = "icmpv6 type nd-neighbor-advert", "ip6 saddr :: icmpv6 type nd-neighbor-solicit"
    foreign = f"@th,64,64 != {_LINK_LOCAL_START} @th,64,128 != {int(own):#x}"
    routers = [f"{what} @th,64,128 {int(router):#x} drop" for what in (advert, solicit)] if router else []
    return [
        *routers,
        f"{advert} {foreign} drop",
        f"{solicit} {foreign} drop",
        "ip6 saddr :: goto from_nobody",
        *([f"ip6 saddr {router} drop"] if router else []),
        f"ip6 saddr != fe80::/64 ip6 saddr != {own} drop",
    ]


def _port(port: PublishedPort) -> str:
    return f"{port.protocol.value} . {port.host_port}"
