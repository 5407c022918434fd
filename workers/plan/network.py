"""Networks on paper: dnsmasq's configuration and leases, and the one nftables ruleset of the host.

Sources: dnsmasq(8), nft(8). nft reads statements line by line: each rule stands on a line of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from workers.contract.networks import FirewallSpec, NetworkSpec, PublishedPort
from workers.plan.names import bridge_name

TABLE = "offshoot"
LEASE_SECONDS = 12 * 3600


@dataclass(frozen=True)
class PluggedNic:
    """A card in a bridge: its tap, the only MAC and addresses that may be seen there, and what may pass.

    `address` is None in a bridged network whose neighbours give one.
    """

    tap: str
    mac: str
    address: IPv4Address | None
    address6: IPv6Address | None = None
    host_name: str = ""
    ports: tuple[PublishedPort, ...] = ()
    firewall: FirewallSpec | None = None


@dataclass(frozen=True)
class WiredNetwork:
    """A network with the cards that are plugged into it."""

    network: NetworkSpec
    nics: tuple[PluggedNic, ...]


@dataclass(frozen=True)
class DnsmasqFiles:
    """Where dnsmasq finds and keeps its files."""

    hosts: Path
    leases: Path
    pid: Path


def dnsmasq_configuration(
    network: NetworkSpec, files: DnsmasqFiles, *, user: str, group: str, upstream: str
) -> str:
    """dnsmasq on the bridge and nowhere else; MACs that are not in the host file get no answer.

    `upstream` is the address of the DNS server to ask, or empty for what the host itself uses.
    """
    lines = [
        f"interface={bridge_name(network.id)}",
        "except-interface=lo",
        "bind-interfaces",
        f"listen-address={network.gateway}",
        f"dhcp-range={network.own_subnet.network_address},static,{network.own_subnet.netmask},{LEASE_SECONDS}",
        "dhcp-ignore=tag:!known",
        "dhcp-authoritative",
        "no-ping",
        f"dhcp-hostsfile={files.hosts}",
        f"dhcp-leasefile={files.leases}",
        f"pid-file={files.pid}",
        f"user={user}",
        f"group={group}",
        "no-hosts",
        "domain-needed",
        "bogus-priv",
        "quiet-dhcp",
    ]
    if upstream:
        lines += ["no-resolv", f"server={upstream}"]
    return "\n".join(lines) + "\n"


def dnsmasq_hosts(nics: Sequence[PluggedNic]) -> str:
    """The fixed leases: one line a card."""
    return "".join(f"{nic.mac},{nic.address}\n" for nic in sorted(nics, key=lambda nic: nic.mac))


def ruleset(networks: Sequence[WiredNetwork]) -> str:
    """A script that replaces our two tables in one transaction; without networks it just removes them."""
    script = [
        f"table inet {TABLE}",
        f"delete table inet {TABLE}",
        f"table bridge {TABLE}",
        f"delete table bridge {TABLE}",
    ]
    if networks:
        script += _inet_table(networks) + _bridge_table(networks)
    return "\n".join(script) + "\n"


def _inet_table(networks: Sequence[WiredNetwork]) -> list[str]:
    """What passes between guests, host and the world."""
    forward, incoming, leaving = [], [], []
    bridges = ", ".join(f'"{bridge_name(wired.network.id)}"' for wired in networks)
    for wired in networks:
        bridge, subnet = f'"{bridge_name(wired.network.id)}"', wired.network.own_subnet
        gateway = wired.network.gateway
        forward += [
            f"iifname {bridge} oifname {bridge} accept",
            f"iifname {bridge} oifname {{ {bridges} }} drop",
            f"iifname {bridge} ip saddr {subnet} accept",
            f"iifname {bridge} drop",
            f"oifname {bridge} ct state established,related accept",
            f"oifname {bridge} drop",
        ]
        incoming += [
            f"iifname {bridge} ct state established,related accept",
            f"iifname {bridge} udp sport 68 udp dport 67 accept",
            f"iifname {bridge} ip daddr {gateway} udp dport 53 accept",
            f"iifname {bridge} ip daddr {gateway} tcp dport 53 accept",
            f"iifname {bridge} ip daddr {gateway} icmp type echo-request accept",
            f"iifname {bridge} drop",
        ]
        leaving.append(f"ip saddr {subnet} ip daddr != {subnet} oifname != {bridge} masquerade")
    return [
        f"table inet {TABLE} {{",
        *_chain("forward", "type filter hook forward priority filter; policy accept;", forward),
        *_chain("input", "type filter hook input priority filter; policy accept;", incoming),
        *_chain("postrouting", "type nat hook postrouting priority srcnat; policy accept;", leaving),
        "}",
    ]


def _bridge_table(networks: Sequence[WiredNetwork]) -> list[str]:
    """What may come out of a card: its own MAC and address, and nothing that a router or DHCP server would send.

    The prerouting hook sees each frame before the bridge decides where it goes, to the host or to a neighbour.
    """
    nics = [nic for wired in networks for nic in wired.nics]
    lines = [f"table bridge {TABLE} {{"]
    for nic in nics:
        lines += _chain(
            f"from_{nic.tap}",
            "",
            [
                f"ether saddr != {nic.mac} drop",
                f"ether type arp arp saddr ether != {nic.mac} drop",
                f"ether type arp arp saddr ip {{ 0.0.0.0, {nic.address} }} accept",
                "ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept",
                "udp sport 67 drop",
                f"ip saddr {nic.address} accept",
                "drop",
            ],
        )
    jumps = [f'iifname "{nic.tap}" jump from_{nic.tap}' for nic in nics]
    lines += _chain("prerouting", "type filter hook prerouting priority filter; policy accept;", jumps)
    lines.append("}")
    return lines


def _chain(name: str, hook: str, rules: Sequence[str]) -> list[str]:
    return [f"chain {name} {{", *([hook] if hook else []), *rules, "}"]
