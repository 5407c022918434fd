"""Networks on paper: what is plugged into them, dnsmasq's configuration and leases.

Source: dnsmasq(8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from workers.contract.networks import FirewallSpec, NetworkKind, NetworkSpec, NicSpec, PublishedPort
from workers.plan.names import bridge_name, tap_name

LEASE_SECONDS = 12 * 3600
LEASE6_SECONDS = 300
"""Shorter: a lease of DHCPv6 belongs to the system that took it, and the next one on the same card has to wait for its end."""
DOMAIN = "internal"
"""What networks' domains are below: reserved for private use (ICANN, 2024), never asked of anybody else."""


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


def plugged(nic: NicSpec, firewall: FirewallSpec | None) -> PluggedNic:
    """A card of a machine with this firewall, as it is plugged in."""
    return PluggedNic(
        tap=tap_name(nic),
        mac=nic.mac,
        address=nic.address,
        address6=nic.address6,
        host_name=nic.host_name,
        ports=nic.ports,
        firewall=firewall,
    )


@dataclass(frozen=True)
class WiredNetwork:
    """A network with the cards that are plugged into it."""

    network: NetworkSpec
    nics: tuple[PluggedNic, ...]


@dataclass(frozen=True)
class DnsmasqFiles:
    """Where dnsmasq finds and keeps its files."""

    hosts: Path
    names: Path
    leases: Path
    pid: Path


def dnsmasq_configuration(
    network: NetworkSpec, files: DnsmasqFiles, *, user: str, group: str, upstream: str
) -> str:
    """dnsmasq on the bridge and nowhere else; MACs that are not in the host file get no answer.

    `upstream` is the address of the DNS server to ask, or empty for what the host itself uses. An isolated network asks
    none, and its machines are told of no way out. Names come from our files alone: what a guest calls itself is ignored.
    """
    isolated = network.kind is NetworkKind.ISOLATED
    lines = [
        f"interface={bridge_name(network.id)}",
        "except-interface=lo",
        "bind-interfaces",
        f"listen-address={network.gateway}",
        f"dhcp-range={network.own_subnet.network_address},static,{network.own_subnet.netmask},{LEASE_SECONDS}",
        "dhcp-ignore=tag:!known",
        "dhcp-authoritative",
        "no-ping",
        "dhcp-ignore-clid",  # a lease is its MAC's, which no card can forge
        f"dhcp-hostsfile={files.hosts}",
        f"dhcp-leasefile={files.leases}",
        f"pid-file={files.pid}",
        f"user={user}",
        f"group={group}",
        "no-hosts",
        f"addn-hosts={files.names}",
        "dhcp-ignore-names",
        "domain-needed",
        "bogus-priv",
        "quiet-dhcp",
        f"local=/{DOMAIN}/",
    ]
    if network.domain:
        lines.append(f"domain={network.domain}.{DOMAIN}")
    if network.subnet6 is not None:
        lines += _six(network, isolated=isolated)
    if isolated:
        # An empty option is left out of the answers (dnsmasq(8)); "/#/" is every name that the files don't know.
        lines += ["dhcp-option=option:router", "no-resolv", "local=/#/"]
    elif upstream:
        lines += ["no-resolv", f"server={upstream}"]
    return "\n".join(lines) + "\n"


def _six(network: NetworkSpec, *, isolated: bool) -> list[str]:
    """Router advertisements that send machines to DHCPv6 (M flag), which gives each card its one address."""
    subnet6 = network.subnet6
    if subnet6 is None:
        return []
    lines = [
        f"listen-address={network.gateway6}",
        f"dhcp-range={subnet6.network_address},static,{subnet6.prefixlen},{LEASE6_SECONDS}",
        "enable-ra",
        "quiet-dhcp6",
        "quiet-ra",
        f"dhcp-option=option6:dns-server,[{network.gateway6}]",
    ]
    if network.domain:
        lines.append(f"dhcp-option=option6:domain-search,{network.domain}.{DOMAIN}")
    if isolated:  # every 600 s, with a lifetime of 0 as a router: the subnet is told, and no way out
        lines.append(f"ra-param={bridge_name(network.id)},600,0")
    return lines


def dnsmasq_hosts(nics: Sequence[PluggedNic]) -> str:
    """The fixed leases: one line a card."""
    lines = []
    for nic in sorted(nics, key=lambda nic: nic.mac):
        fields = [nic.mac, f"[{nic.address6}]" if nic.address6 else "", str(nic.address), nic.host_name]
        lines.append(",".join(filter(None, fields)) + "\n")
    return "".join(lines)


def dnsmasq_names(network: NetworkSpec, nics: Sequence[PluggedNic]) -> str:
    """The names of the network's machines as a hosts file, so that they are found before they have a lease, and backwards."""
    lines = []
    for nic in sorted(nics, key=lambda nic: nic.mac):
        if nic.host_name:
            whole = [f"{nic.host_name}.{network.domain}.{DOMAIN}"] if network.domain else []
            names = " ".join([*whole, nic.host_name])
            lines += [f"{address} {names}\n" for address in (nic.address, nic.address6) if address]
    return "".join(lines)
