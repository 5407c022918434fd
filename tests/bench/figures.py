"""How long the portal takes to keep the figures of a host with half of the machines, and to roll them up."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from uuid import UUID

from portal.figures.models import Fresh
from portal.figures.services import roll_up, samples_take
from portal.figures.tasks import samples as samples_task
from portal.fleet.models import Host
from portal.machines.models import Machine
from workers.contract.figures import SAMPLE_SECONDS, HostTotals, MachineUsage, Samples, Usage


def kept(host: Host, messages: int) -> dict[str, list[float]]:
    """Seconds of each message as it comes from the broker, and of rolling up what a minute and an hour brought."""
    machines = list(Machine.objects.filter(host=host).values_list("pk", flat=True))
    taken = []
    for _ in range(messages):
        Fresh.objects.all().delete()
        wire = _message(host, machines, int(time.time())).to_wire()
        begun = time.perf_counter()
        samples_task(wire)
        taken.append(time.perf_counter() - begun)
        assert Fresh.objects.count() == 1
    Fresh.objects.all().delete()
    # An hour, in minutes of one message each so that filling it does not take long; each minute is rolled up as ever.
    start = int(time.time()) // 3600 * 3600 - 7200
    minutes: list[float] = []
    for minute in range(start, start + 3600, 60):
        step = SAMPLE_SECONDS if len(minutes) < 3 else 60  # three whole ones are measured
        for at in range(minute, minute + 60, step):
            assert samples_take(_message(host, machines, at), now=at)
        begun = time.perf_counter()
        roll_up(now=minute + 100)
        minutes.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    roll_up(now=start + 3600 + 300)
    return {"message": taken, "minute": minutes[:3], "hour": [time.perf_counter() - begun]}


def _message(host: Host, machines: Sequence[UUID], at: int) -> Samples:
    names = list(Usage.model_fields)
    return Samples(
        host=host.name,
        at=at,
        sequence=time.time_ns(),
        totals=HostTotals(cpu_percent=50.0, load=1.0),
        machines=tuple(
            MachineUsage.model_validate(
                {"machine_id": machine} | {name: round(random.uniform(0, 1e6), 1) for name in names}
            )
            for machine in machines
        ),
    )
