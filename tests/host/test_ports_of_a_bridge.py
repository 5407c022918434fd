"""What a bridge believes of who is behind which cable, whatever a machine sends: whole frames in a real kernel."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from tests.lab.network import HostNetwork
from tests.lab.wire import Cable, arp, ethernet, in_namespace, packet, udp
from workers.contract.networks import NetworkKind, NetworkSpec
from workers.host import firewall, taps
from workers.plan.network import PluggedNic, WiredNetwork

BRIDGE = "br-lan"
SEGMENT = NetworkSpec(id=UUID(int=6), kind=NetworkKind.BRIDGED, bridge=BRIDGE)
THIEF = PluggedNic("ot0000aa", "52:54:00:00:00:aa", None)
VICTIM = PluggedNic("ot0000bb", "52:54:00:00:00:bb", None)
ROUTER_MAC = "02:00:00:00:00:01"


class Bridged:
    """A bridge of the host's own with two machines' cables, plugged in as the product does it, and a way to a router."""

    def __init__(self, network: HostNetwork, folder: Path) -> None:
        self.network = network
        network.inside("ip", "link", "add", BRIDGE, "type", "bridge")
        network.inside("ip", "link", "set", BRIDGE, "up")
        self.thief, self.victim, self.router = (
            Cable(network, BRIDGE, name) for name in (THIEF.tap, VICTIM.tap, "uplink")
        )
        for nic in (THIEF, VICTIM):
            in_namespace(network.host, partial(taps.plug_tap, nic.tap, bridge=BRIDGE, guest_mac=nic.mac))
        wired = [WiredNetwork(SEGMENT, (THIEF, VICTIM))]
        in_namespace(network.host, lambda: firewall.apply(folder, wired))

    def close(self) -> None:
        for cable in (self.thief, self.victim, self.router):
            cable.close()

    def goes_to_the_victim_alone(self, frame: bytes) -> bool:
        """A frame from the router comes out at the victim, and not at the thief."""
        mark = self.router.send(frame)
        last = self.router.send(arp(ROUTER_MAC, "10.0.0.1", "10.0.0.2"))  # to all
        return mark in self.victim.heard(last) and mark not in self.thief.heard(last)


@pytest.fixture
def bridged(folder: Path) -> Iterator[Bridged]:
    network = HostNetwork(folder, internet=False)
    try:
        bridged = Bridged(network, folder)
        yield bridged
        bridged.close()
    finally:
        network.close()


def link_local_group(source: str, number: int) -> bytes:
    """To a group that no bridge passes on (IEEE 802.1D, table 7-10), and whose frames no rule of nftables sees."""
    return ethernet(source, f"01:80:c2:00:00:{number:02x}", 0x88CC, bytes(46))


def test_a_machine_that_sends_in_its_neighbours_name_gets_none_of_its_frames(bridged: Bridged) -> None:
    to_the_victim = packet(ROUTER_MAC, VICTIM.mac, "10.0.0.1", "10.0.0.9", 17, udp(1, 2))
    assert bridged.goes_to_the_victim_alone(to_the_victim)  # before the victim has said a word
    for number in range(16):
        bridged.thief.send(link_local_group(VICTIM.mac, number))
    assert bridged.goes_to_the_victim_alone(to_the_victim)


def test_a_machine_that_sends_in_the_routers_name_gets_nothing_that_is_for_the_router(
    bridged: Bridged,
) -> None:
    bridged.router.send(arp(ROUTER_MAC, "10.0.0.1", "10.0.0.2"))
    for number in range(16):
        bridged.thief.send(link_local_group(ROUTER_MAC, number))
    mark = bridged.victim.send(packet(VICTIM.mac, ROUTER_MAC, "10.0.0.9", "10.0.0.1", 17, udp(1, 2)))
    last = bridged.victim.send(arp(VICTIM.mac, "10.0.0.9", "10.0.0.1"))
    assert mark in bridged.router.heard(last)
    assert mark not in bridged.thief.heard(last)


def test_a_machine_fills_no_bridges_memory(bridged: Bridged) -> None:
    for number in range(300):
        bridged.thief.send(link_local_group(f"52:54:01:00:{number >> 8:02x}:{number & 255:02x}", number % 16))
    last = bridged.router.send(arp(ROUTER_MAC, "10.0.0.1", "10.0.0.2"))
    bridged.thief.heard(last)
    known = bridged.network.inside("bridge", "fdb", "show", "br", BRIDGE)
    assert "52:54:01" not in known
    assert f"{THIEF.mac} dev {THIEF.tap} sticky master {BRIDGE} static" in known
    assert "root_block on" in bridged.network.inside("bridge", "-d", "link", "show", "dev", THIEF.tap)
