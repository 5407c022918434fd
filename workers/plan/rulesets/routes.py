"""The part of one network: what passes between its guests, the host, other networks and the world (family inet).

A bridged network has none: its frames cross the host's own bridge, and only the rules of its cards see them.
"""

from __future__ import annotations

from workers.contract.networks import NetworkKind, NetworkSpec
from workers.plan.names import bridge_name
from workers.plan.rulesets.parts import Part


def network_part(network: NetworkSpec) -> Part:
    """Chains and elements of a NAT or isolated network; nothing for a bridged one."""
    if network.kind is NetworkKind.BRIDGED:
        return Part()
    bridge = bridge_name(network.id)
    chains = {
        ("inet", f"leaving_{bridge}"): _leaving(network, bridge),
        ("inet", f"coming_{bridge}"): _coming(network),
        ("inet", f"entering_{bridge}"): _entering(network),
    }
    elements = {
        ("inet", "bridges"): {_quoted(bridge): ""},
        ("inet", "leaving"): {_quoted(bridge): f"goto leaving_{bridge}"},
        ("inet", "coming"): {_quoted(bridge): f"goto coming_{bridge}"},
        ("inet", "entering"): {_quoted(bridge): f"goto entering_{bridge}"},
    }
    if network.kind is NetworkKind.NAT:
        chains[("inet", f"translating_{bridge}")] = _translating(network, bridge)
        elements[("inet", "translating")] = {_quoted(bridge): f"goto translating_{bridge}"}
    return Part(chains=chains, elements=elements)


def _leaving(network: NetworkSpec, bridge: str) -> tuple[str, ...]:
    """Forwarded from the network: among its guests, to ports published in other networks, to the world, to nothing else."""
    if network.kind is NetworkKind.ISOLATED:
        return (f'oifname "{bridge}" accept', "drop")
    own6 = (f"ip6 saddr {network.subnet6} accept",) if network.subnet6 else ()
    return (
        f'oifname "{bridge}" accept',
        "ct status dnat accept",
        "oifname @bridges ct state established,related accept",
        "oifname @bridges drop",
        f"ip saddr {network.subnet} accept",
        *own6,
        "drop",
    )


def _coming(network: NetworkSpec) -> tuple[str, ...]:
    """Forwarded to the network from elsewhere. Routed addresses are reached from outside: the machines' firewalls decide."""
    if network.kind is NetworkKind.ISOLATED:
        return ("drop",)
    routed = (f"ip6 daddr {network.subnet6} accept",) if network.routed6 else ()
    return ("ct state established,related accept", "ct status dnat accept", *routed, "drop")


def _entering(network: NetworkSpec) -> tuple[str, ...]:
    """To the host itself: answers, DHCP and DNS; in a NAT network a ping too."""
    nat = network.kind is NetworkKind.NAT
    gateway, gateway6 = network.gateway, network.gateway6
    rules = [
        "ct state established,related accept",
        "meta nfproto ipv4 udp sport 68 udp dport 67 accept",
        f"ip daddr {gateway} udp dport 53 accept",
        f"ip daddr {gateway} tcp dport 53 accept",
        *([f"ip daddr {gateway} icmp type echo-request accept"] if nat else []),
    ]
    if gateway6:
        rules += [
            "meta nfproto ipv6 udp sport 546 udp dport 547 accept",
            f"ip6 daddr {gateway6} udp dport 53 accept",
            f"ip6 daddr {gateway6} tcp dport 53 accept",
            "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept",
            *([f"ip6 daddr {gateway6} icmpv6 type echo-request accept"] if nat else []),
        ]
    return (*rules, "drop")


def _translating(network: NetworkSpec, bridge: str) -> tuple[str, ...]:
    """Whose address a packet from the network bears. A published port of a neighbour answers by way of the host."""
    own6 = (f"ip6 saddr {network.subnet6} masquerade",) if network.subnet6 and not network.routed6 else ()
    return (
        f'oifname "{bridge}" ct status dnat masquerade',
        "oifname @bridges return",
        f"ip saddr {network.subnet} masquerade",
        *own6,
    )


def _quoted(name: str) -> str:
    return f'"{name}"'
