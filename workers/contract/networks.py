"""Networks as machines are plugged into them: what kind, which addresses, what may pass, what is reached from outside."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from workers.contract.version import Message

MacAddress = Annotated[str, StringConstraints(pattern=r"^52:54:00(:[0-9a-f]{2}){3}$")]
"""A MAC of the range that qemu guests use; the first octet is unicast and locally administered."""

InterfaceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$")]
"""A network interface of a host, as the host named it in its facts (Linux: at most 15 characters)."""

DnsLabel = Annotated[str, StringConstraints(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$")]
"""A machine's name in its network's DNS, or a network's own; empty where it has none."""


class NetworkKind(StrEnum):
    """`nat`: a subnet behind the host's address. `isolated`: a subnet with no way out. `bridged`: the host's own segment."""

    NAT = "nat"
    ISOLATED = "isolated"
    BRIDGED = "bridged"


class NetworkSpec(Message):
    """A network on one host.

    A NAT or isolated one is a bridge of ours with the first address of each subnet, DHCP and DNS. `subnet6` is its IPv6
    range (a /64), which leaves the host behind its address, or with the guests' own where `routed6`. A bridged network
    is the host's bridge of that name, with the addresses that its neighbours give out. `domain` is where its machines'
    names are found, below `.internal`.
    """

    id: UUID
    kind: NetworkKind = NetworkKind.NAT
    subnet: IPv4Network | None = Field(default=None, description="from /16 to /29, a private range")
    subnet6: IPv6Network | None = None
    routed6: bool = False
    bridge: InterfaceName | None = None
    domain: DnsLabel = ""

    @model_validator(mode="after")
    def _a_bridge_or_subnets_of_sensible_size(self) -> NetworkSpec:
        if self.kind is NetworkKind.BRIDGED:
            if self.bridge is None or self.subnet is not None or self.subnet6 is not None:
                raise ValueError("a bridged network is a bridge of its host, without subnets of ours")
            return self
        if self.bridge is not None or self.subnet is None:
            raise ValueError("the network has a subnet, and no bridge of its host")
        if not 16 <= self.subnet.prefixlen <= 29 or not self.subnet.is_private:
            raise ValueError("the subnet is not a private range from /16 to /29")
        if self.subnet6 is not None:
            if self.subnet6.prefixlen != 64 or self.subnet6.is_multicast or self.subnet6.is_link_local:
                raise ValueError("the IPv6 subnet is not a /64 of addresses for hosts")
            if self.routed6 and self.kind is not NetworkKind.NAT:
                raise ValueError("an isolated network routes nothing")
        elif self.routed6:
            raise ValueError("no IPv6 subnet to route")
        return self

    @property
    def own_subnet(self) -> IPv4Network:
        """The subnet of a network that is not bridged. Raises ValueError for one that is."""
        if self.subnet is None:
            raise ValueError("a bridged network has no subnet of ours")
        return self.subnet

    @property
    def gateway(self) -> IPv4Address:
        """The host's own address on the bridge: the first of the subnet. Raises ValueError for a bridged network."""
        return self.own_subnet[1]

    @property
    def gateway6(self) -> IPv6Address | None:
        """The same of the IPv6 subnet; None without one."""
        return self.subnet6[1] if self.subnet6 is not None else None


class Direction(StrEnum):
    """Seen from the machine: what comes to it, or what it sends."""

    IN = "in"
    OUT = "out"


class Protocol(StrEnum):
    """What a rule is about. `ping` is the echo request of ICMP and ICMPv6."""

    ANY = "any"
    TCP = "tcp"
    UDP = "udp"
    PING = "ping"


class FirewallRule(Message):
    """One rule: what fits it is let through, or dropped. Ports are the destination's; `peer` is the other end (None: anyone)."""

    direction: Direction
    allow: bool
    protocol: Protocol = Protocol.ANY
    first_port: int | None = Field(default=None, ge=1, le=65535)
    last_port: int | None = Field(default=None, ge=1, le=65535)
    peer: IPv4Network | IPv6Network | None = None

    @model_validator(mode="after")
    def _ports_belong_to_tcp_and_udp(self) -> FirewallRule:
        if (self.first_port is None) != (self.last_port is None):
            raise ValueError("a range of ports has two ends")
        if self.first_port is not None and self.last_port is not None:
            if self.protocol not in (Protocol.TCP, Protocol.UDP):
                raise ValueError("only TCP and UDP have ports")
            if self.first_port > self.last_port:
                raise ValueError("the range of ports ends before it begins")
        return self


class FirewallSpec(Message):
    """What may come to a machine and leave it. The first rule that fits decides; where none fits, the two defaults do.

    Answers to what was let through are let through too, in both directions, and so is what a network needs to work (ARP,
    neighbour discovery, DHCP, ICMP errors).
    """

    allow_in: bool
    allow_out: bool
    rules: tuple[FirewallRule, ...] = Field(default=(), max_length=64)


class PublishedPort(Message):
    """A port of the host at which a port of the machine is reached. Let through whatever the machine's firewall says."""

    protocol: Protocol
    host_port: int = Field(ge=1024, le=65535)
    guest_port: int = Field(ge=1, le=65535)

    @model_validator(mode="after")
    def _tcp_or_udp(self) -> PublishedPort:
        if self.protocol not in (Protocol.TCP, Protocol.UDP):
            raise ValueError("only TCP and UDP have ports")
        return self


MOST_MBIT = 30_000
"""The highest limit of a card in megabits a second: the kernel's token bucket counts bytes a second in 32 bits."""


class NicModel(StrEnum):
    """The network card a guest sees: paravirtual, or emulated for guests without a driver."""

    VIRTIO = "virtio"
    E1000 = "e1000"


class NicSpec(Message):
    """One network card: its fixed MAC and the fixed addresses that DHCP gives it.

    In a bridged network the neighbours' DHCP gives the address; where `address` is set all the same, it is the only one
    that the machine may use. `mbit_in` and `mbit_out` limit what comes to the machine and what it sends (megabits a
    second; None: no limit).
    """

    network: NetworkSpec
    mac: MacAddress
    address: IPv4Address | None = None
    address6: IPv6Address | None = None
    host_name: DnsLabel = ""
    model: NicModel = NicModel.VIRTIO
    slot: int = Field(default=0, ge=0, le=7)
    ports: tuple[PublishedPort, ...] = Field(default=(), max_length=64)
    mbit_in: int | None = Field(default=None, ge=1, le=MOST_MBIT)
    mbit_out: int | None = Field(default=None, ge=1, le=MOST_MBIT)

    @model_validator(mode="after")
    def _the_addresses_are_a_guests(self) -> NicSpec:
        network = self.network
        if network.kind is not NetworkKind.NAT and self.ports:
            raise ValueError("ports are published in NAT networks only")
        if network.subnet is None:
            return self
        reserved = (network.subnet.network_address, network.subnet.broadcast_address, network.gateway)
        if self.address is None or self.address not in network.subnet or self.address in reserved:
            raise ValueError(f"{self.address} is not a guest's address in {network.subnet}")
        if network.subnet6 is None:
            if self.address6 is not None:
                raise ValueError("the network has no IPv6")
        elif self.address6 is not None:
            reserved6 = (network.subnet6.network_address, network.gateway6)
            if self.address6 not in network.subnet6 or self.address6 in reserved6:
                raise ValueError(f"{self.address6} is not a guest's address in {network.subnet6}")
        return self
