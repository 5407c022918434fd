"""Figure 1: the start of a machine that exists, against the launch of the same argument list by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from uuid import UUID, uuid4

from tests.bench.banner import banner_read
from tests.bench.by_hand import ByHand
from tests.bench.create import created, removed
from tests.bench.site import Site
from tests.bench.table import Row, against_hand
from tests.lab import wishes
from workers.contract.spec import GIB, DiskKind, DiskSpec, MachineSpec, NetworkSpec, NicSpec, Power, StopMode
from workers.plan.names import MachineFolder

_MOST_MS = 150
_REST_SECONDS = 0.3
"""Before each clock starts: what was reported of the last start is taken in by then."""

_NETWORK = NetworkSpec(id=UUID(int=58), subnet=IPv4Network("192.168.58.0/24"))


def measure(site: Site, by_hand: ByHand, repeats: int) -> list[Row]:
    """The rows of the table."""
    return [
        _by_message(site, by_hand, repeats, alone=True),
        _by_message(site, by_hand, repeats, alone=False),
        _by_button(site, by_hand, repeats),
    ]


def _alternating(
    figure: str, repeats: int, by_hand: ByHand, folder: MachineFolder, ours: Callable[[], float]
) -> Row:
    """One of ours, one by hand, and so on; the first pair only warms up."""
    pairs = []
    for _ in range(repeats + 1):
        time.sleep(_REST_SECONDS)
        seconds = ours()
        time.sleep(_REST_SECONDS)
        pairs.append((seconds, by_hand.start(by_hand.arguments(folder))))
    return against_hand(figure, *zip(*pairs[1:], strict=True), most_ms=_MOST_MS)


@dataclass
class _Machine:
    """A machine that only the host knows: the portal takes its reports for somebody's who is gone."""

    site: Site
    spec: MachineSpec

    @property
    def folder(self) -> MachineFolder:
        return self.site.folder(self.spec.machine_id)

    def wish(self, power: Power, *, runs: int = 0) -> None:
        """Send the next generation."""
        self.spec = wishes.later(self.spec, power=power, stop_mode=StopMode.FORCE, run=self.spec.run + runs)
        self.site.ask_host(wishes.wish(self.spec))

    def settled(self) -> None:
        """The worker has done what was sent last."""
        self.site.await_handled(self.spec.machine_id, self.spec.generation)

    def started(self) -> float:
        """Seconds from the message to the banner; it is off again afterwards."""
        begun = time.perf_counter()
        self.wish(Power.RUNNING, runs=1)
        seconds = banner_read(self.folder.vnc_socket) - begun
        self.settled()
        self.wish(Power.OFF)
        self.settled()
        return seconds


def _machine(site: Site, number: int) -> _Machine:
    nic = NicSpec(
        network=_NETWORK, mac=f"52:54:00:00:58:{number:02x}", address=IPv4Address(f"192.168.58.{number}")
    )
    disk = DiskSpec(id=uuid4(), size_bytes=8 * GIB, kind=DiskKind.GROWING)
    spec = wishes.spec(memory_mib=256, nics=(nic,), disks=(disk,), power=Power.OFF)
    return _Machine(site, spec)


def _by_message(site: Site, by_hand: ByHand, repeats: int, *, alone: bool) -> Row:
    """From the message on Redis. Alone, the machine's start makes bridge, DHCP and rules; a neighbour's has them."""
    machine, neighbour = _machine(site, 10), _machine(site, 11)
    words = "its network made with it" if alone else "a neighbour runs in its network"
    if not alone:
        neighbour.wish(Power.RUNNING)
        neighbour.settled()
    machine.wish(Power.OFF)
    machine.settled()
    figure = f"1 start, message to banner ({words})"
    row = _alternating(figure, repeats, by_hand, machine.folder, machine.started)
    for each in (machine, neighbour):
        each.wish(Power.GONE)
        site.await_gone(each.spec.machine_id)
    return row


def _by_button(site: Site, by_hand: ByHand, repeats: int) -> Row:
    """From pressing Start."""
    machine_id = created(site)
    address, folder = f"/machines/{machine_id}/", site.folder(machine_id)

    def off() -> None:
        site.await_shown(address, "running")
        site.post(f"{address}force-off/")
        site.await_shown(address, "off")

    def started() -> float:
        begun = time.perf_counter()
        site.post(f"{address}start/")
        seconds = banner_read(folder.vnc_socket) - begun
        off()
        return seconds

    off()
    row = _alternating(
        "1 press Start to banner (its network made with it)", repeats, by_hand, folder, started
    )
    removed(site, machine_id)
    return row
