"""The check of all networks with 100 machines on the host: their bridges, taps, dnsmasqs, forwarding and rules.

Each machine has the firewall that the portal gives a new one, and a published port where its network can.

The machines' networks, taps and locks are real, and made by the product; nothing runs in them, since the check asks no qemu.
`python -m tests.bench.full_check FOLDER REPEATS` is the part that runs in the host's namespace; it prints seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from uuid import UUID

from portal.machines.firewall import for_new_machine
from tests.bench.table import Row, p95_under
from tests.lab.host import ROOT
from tests.lab.network import HostNetwork
from tests.lab.processes import end_processes_of
from tests.lab.wishes import spec
from workers.config import host_config
from workers.contract.networks import NetworkKind, NetworkSpec, NicSpec, Protocol, PublishedPort
from workers.contract.spec import MachineSpec
from workers.host import networks, processes
from workers.host.locks import try_lock

MACHINES, NETWORKS = 100, 5
_MOST_MS = 300


def measure(folder: Path, network: HostNetwork, repeats: int) -> list[Row]:
    """The row of the table."""
    folder.mkdir()
    try:
        finished = subprocess.run(
            (*network.enter(), sys.executable, "-m", "tests.bench.full_check", str(folder), str(repeats)),
            cwd=ROOT, env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}, capture_output=True, text=True, check=True,
        )  # fmt: skip
    finally:
        end_processes_of(folder)
    seconds = [float(each) for each in json.loads(finished.stdout)]
    return [
        p95_under(f"a full check of {MACHINES} machines in {NETWORKS} networks", seconds, most_ms=_MOST_MS)
    ]


def _inside(folder: Path, repeats: int) -> list[float]:
    (folder / "fleet.key").write_text("a key for tests only")
    config = host_config({"OFFSHOOT_HOST_STATE": str(folder)})
    with ExitStack() as stack:
        for number in range(MACHINES):
            machine = _machine(number)
            home = config.state.machine(machine.machine_id)
            home.root.mkdir(parents=True)
            lock = try_lock(home.life_lock)
            assert lock is not None
            stack.callback(os.close, lock)
            networks.plug(config, machine)
            stack.callback(networks.close_taps, networks.open_taps(machine))

        def lives(machine_id: UUID) -> bool:
            return processes.runs(config.state.machine(machine_id))

        networks.check(config, lives)
        took = []
        for _ in range(repeats):
            begun = time.perf_counter()
            found = networks.check(config, lives)
            took.append(time.perf_counter() - begun)
            assert found == networks.Found(), found
        return took


def _machine(number: int) -> MachineSpec:
    which, place = number % NETWORKS, 10 + number // NETWORKS
    kind = NetworkKind.ISOLATED if which == 1 else NetworkKind.NAT
    network = NetworkSpec(
        id=UUID(int=(which + 1) << 96),
        kind=kind,
        subnet=IPv4Network(f"192.168.{100 + which}.0/24"),
        subnet6=IPv6Network(f"fd00:{which + 1}::/64"),
        domain=f"net{which}",
    )
    nic = NicSpec(
        network=network,
        mac=f"52:54:00:01:{which:02x}:{place:02x}",
        address=IPv4Address(f"192.168.{100 + which}.{place}"),
        address6=IPv6Address(f"fd00:{which + 1}::{place:x}"),
        host_name=f"box-{number}",
    )
    ports = (
        (PublishedPort(protocol=Protocol.TCP, host_port=20_000 + number, guest_port=22),)
        if kind is NetworkKind.NAT
        else ()
    )
    machine = spec(nics=(nic.model_copy(update={"ports": ports}),))
    return machine.model_copy(update={"firewall": for_new_machine(machine.guest)})


if __name__ == "__main__":
    print(json.dumps(_inside(Path(sys.argv[1]), int(sys.argv[2]))))
