"""Networks on paper: what is plugged into them, dnsmasq's configuration and leases.

Source: dnsmasq(8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from workers.contract.networks import FirewallSpec, NetworkSpec, PublishedPort
from workers.plan.names import bridge_name

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
