"""How long the portal takes to write down a heartbeat of a host with half of the machines; inside the portal's Django."""

from __future__ import annotations

import time
from pathlib import Path

from portal.fleet.models import Host
from portal.machines.models import Machine
from portal.machines.tasks import heartbeat
from workers.contract.host import HostFacts
from workers.contract.messages import Heartbeat, MachineObserved, NicFacts, Observed
from workers.host.facts import host_usage

_WARM_UP = 2
"""The first beats bring news; those that are measured say what is known already."""


def taken(host: Host, facts: HostFacts, beats: int) -> list[float]:
    """Seconds of each."""
    seconds = []
    for _ in range(_WARM_UP + beats):
        wire = _beat(host, facts).to_wire()
        begun = time.perf_counter()
        heartbeat(wire)
        seconds.append(time.perf_counter() - begun)
    return seconds[_WARM_UP:]


def _beat(host: Host, facts: HostFacts) -> Heartbeat:
    sequence = time.time_ns()
    return Heartbeat(
        host=host.name,
        sequence=sequence,
        started=1,
        gateway=host.gateway,
        facts=facts,
        usage=host_usage(Path("/")),
        machines=tuple(
            _observed(machine, host.name, sequence)
            for machine in Machine.objects.filter(host=host).prefetch_related("nics")
        ),
    )


def _observed(machine: Machine, host: str, sequence: int) -> MachineObserved:
    """What the host says of a machine in a heartbeat in which nothing is new."""
    return MachineObserved(
        host=host,
        machine_id=machine.pk,
        generation=machine.generation,
        sequence=sequence,
        power=Observed(machine.observed),
        accelerator=machine.accelerator,
        nics=tuple(
            NicFacts(mac=nic.mac, bridge=nic.bridge, tap=nic.tap, leased_address=None)
            for nic in machine.nics.all()
        ),
    )
