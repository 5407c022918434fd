"""What a network carries: guest to guest, and guest to outside through NAT, against the same guests wired by hand.

By hand: a plain bridge with the gateway's address, two named taps, forwarding and one masquerade rule; the argument lists are
those that the product's worker has used. iperf3 measures inside the guests, ours and by hand in turn.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from portal.machines.firewall import for_new_machine
from tests.bench.table import Row, as_much
from tests.guest.build import WITH_IPERF, guest_disc
from tests.guest.packages import fetch_package
from tests.lab import wishes
from tests.lab.network import OUTSIDE
from tests.lab.processes import end_processes_of
from tests.lab.standing import Standing, standing_host
from tests.lab.waiting import wait_for
from workers.contract.networks import Direction, FirewallRule, Protocol
from workers.contract.spec import DiscSpec, MachineSpec
from workers.host.processes import launched
from workers.plan.names import MachineFolder

_LEAST = 0.95
"""Of what the same by hand carries: measuring itself varies by some per cent."""
_WAYS = ("inside", "outside")
_SECONDS = 180
_IPERF = 5201


def measure(rounds: int) -> list[Row]:
    """The rows of the table, in megabits a second."""
    ours: dict[str, list[float]] = {way: [] for way in _WAYS}
    hands: dict[str, list[float]] = {way: [] for way in _WAYS}
    with standing_host(internet=True) as place, _server_outside(place):
        network = wishes.PRIVATE
        server, client = network.own_subnet[10], network.own_subnet[11]
        common = {"router": str(network.gateway), "outside": OUTSIDE}
        discs = [
            place.host.put_disc(
                uuid4(), guest_disc("iperf", kernel=WITH_IPERF, address=str(own), **common, **more)
            )
            for own, more in ((server, {}), (client, {"server": str(server)}))
        ]
        for _ in range(rounds):
            machines = [
                place.done(_machine(number, disc)) for number, disc in zip((10, 11), discs, strict=True)
            ]
            for way in _WAYS:
                ours[way].append(
                    float(place.host.heard(machines[1].machine_id, f"carried_{way}", seconds=_SECONDS))
                )
            argvs = [
                _elsewhere(
                    place.host.folder(machine.machine_id), place.folder / f"hand{number}", f"hand{number}"
                )
                for number, machine in enumerate(machines)
            ]
            for machine in machines:
                place.delete(machine)
            said = _by_hand(place, argvs, place.folder / "hand1")
            for way in _WAYS:
                hands[way].append(said[way])
    return [
        as_much("guest to guest", ours["inside"], hands["inside"], least=_LEAST),
        as_much("guest to outside through NAT", ours["outside"], hands["outside"], least=_LEAST),
    ]


def _machine(number: int, disc: DiscSpec) -> MachineSpec:
    """Behind the firewall that the portal gives a new one, and one port more: the one at which iperf3 listens."""
    machine = wishes.spec(number=number, disc=disc, disks=(), memory_mib=192)
    given = for_new_machine(machine.guest)
    iperf = FirewallRule(
        direction=Direction.IN, allow=True, protocol=Protocol.TCP, first_port=_IPERF, last_port=_IPERF
    )
    firewall = given.model_copy(update={"rules": (*given.rules, iperf)})
    return machine.model_copy(update={"firewall": firewall})


def _elsewhere(machine: MachineFolder, folder: Path, tap: str) -> list[str]:
    """What the worker ran for this machine, in another folder and on a tap that is named."""
    argv = [str(each).replace(str(machine.root), str(folder)) for each in launched(machine)["argv"]]
    place = argv.index("-netdev") + 1
    card = json.loads(argv[place])
    del card["fd"]
    argv[place] = json.dumps(card | {"ifname": tap, "script": "no", "downscript": "no"})
    return argv


def _by_hand(place: Standing, argvs: Sequence[Sequence[str]], client: Path) -> dict[str, float]:
    """Run the two guests on plain bridge, taps and masquerade; what the client has measured."""
    inside = place.host.network.inside
    inside("ip", "link", "add", "hand", "type", "bridge")
    inside("ip", "addr", "add", f"{wishes.PRIVATE.gateway}/24", "dev", "hand")
    inside("ip", "link", "set", "hand", "up")
    inside("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
    inside("nft", "add table ip hand; add chain ip hand post { type nat hook postrouting priority srcnat; }")
    inside("nft", "add", "rule", "ip", "hand", "post", "oifname", "!=", "hand", "masquerade")
    try:
        for number, argv in enumerate(argvs):
            folder = MachineFolder(place.folder / f"hand{number}")
            folder.run.mkdir(parents=True)
            inside("ip", "tuntap", "add", "dev", f"hand{number}", "mode", "tap")
            inside("ip", "link", "set", f"hand{number}", "master", "hand", "up")
            with folder.qemu_log.open("wb") as log:
                subprocess.Popen((*place.host.network.enter(), *argv), stdout=log, stderr=log)
        serial = MachineFolder(client).serial_socket
        wait_for("the client is there", serial.exists, seconds=30)
        return _heard(serial)
    finally:
        for number in range(len(argvs)):
            end_processes_of(place.folder / f"hand{number}")
            subprocess.run(("rm", "-rf", str(place.folder / f"hand{number}")), check=True)
            inside("ip", "link", "del", f"hand{number}", check=False)
        inside("nft", "delete", "table", "ip", "hand")
        inside("sysctl", "-q", "-w", "net.ipv4.ip_forward=0")
        inside("ip", "link", "del", "hand")


def _heard(serial: Path) -> dict[str, float]:
    """Listen on the guest's serial port until it has said both figures."""
    text = ""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(_SECONDS)
        line.connect(str(serial))
        while True:
            found = dict(re.findall(r"OFFSHOOT carried_(\w+) ([\d.]+)\s", text))
            if found.keys() >= set(_WAYS):
                return {way: float(found[way]) for way in _WAYS}
            piece = line.recv(65536)
            if not piece:
                raise RuntimeError(f"the guest ended: {text[-500:]}")
            text += piece.decode(errors="replace")


@contextmanager
def _server_outside(place: Standing) -> Iterator[None]:
    """An iperf3 on the internet's side."""
    for package in ("libiperf0", "libsctp1", "iperf3"):
        tree = fetch_package(package, place.folder)
    process = subprocess.Popen(
        (*place.host.network.outside(), str(tree / "usr/bin/iperf3"), "-s"),
        env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(tree / "usr/lib/x86_64-linux-gnu")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait(10)
