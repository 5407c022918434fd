"""Looks every five seconds at what each running machine and the host take, and tells the portal; starts no process for it.

The processor and memory come from /proc, cards from one read of /proc/net/dev for all, disks and the guest's own memory
from qemu, on the connection over which its events come anyway: a monitor is connected to for nothing else.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import structlog
from qemu.qmp import ExecuteError, QMPClient, QMPError

from workers.contract.figures import MOST_MACHINES, SAMPLE_SECONDS, MachineUsage, Samples
from workers.host import living
from workers.host.host_counters import HostCounters
from workers.host.vitals import PAGE_BYTES, TICKS, Vitals, vitals_of
from workers.plan.figures import (
    Counted,
    Counts,
    Reading,
    block_counters,
    guest_memory,
    host_totals,
    link_counters,
    machine_usage,
    of_guest,
    usage,
)
from workers.plan.names import tap_name
from workers.plan.qemu import BALLOON_DEVICE
from workers.this_host import Host

_ANSWER_SECONDS = 1.5
"""How long a sample waits for qemus; one that answers later is told of in the next."""

_AT_ONCE = 8
_FEW_SECONDS = 0.3
"""How long the next ones wait for those before them."""

_BALLOON_SECONDS = 10
"""How often a guest's driver is asked by qemu what memory it uses."""

_BALLOON = f"/machine/peripheral/{BALLOON_DEVICE}"
log = structlog.get_logger()


@dataclass
class _Machine:
    """What is known of a running machine between two samples."""

    client: QMPClient
    vitals: Vitals | None = None
    before: Reading | None = None
    disks: Counted | None = None
    guest_memory: int | None = None
    asking: asyncio.Task[None] | None = None
    asks_balloon: bool | None = None
    """Whether its qemu has one; None before it was told to ask the guest."""


class Sampler:
    """Samples in a thread of its own. `clients`: the machines that are listened to, each with its connection."""

    def __init__(
        self,
        host: Host,
        clients: Callable[[], Mapping[UUID, QMPClient]],
        report: Callable[[Samples], None],
    ) -> None:
        self._host = host
        self._clients = clients
        self._report = report
        self._machines: dict[UUID, _Machine] = {}
        self._counters = HostCounters()
        self._host_before: Reading | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampling", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Stop; a sample that is being taken ends first."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def sample(self, at: int) -> Samples:
        """What was taken since the call before. `at` is the moment that it is told as (Unix seconds)."""
        self._meet(self._clients())
        self._ask_qemus()
        links, links_at = link_counters(Path("/proc/net/dev").read_text()), time.monotonic()
        machines = []
        for machine_id, machine in list(self._machines.items()):
            try:
                found = self._look_at(machine_id, machine, links, links_at)
            except Exception:  # the others are told of all the same
                log.exception("not sampled", machine=str(machine_id))
                continue
            if found is not None:
                machines.append(found)
        reading, cpus = self._counters.read(links, links_at)
        totals = host_totals(usage(self._host_before, reading, cpus=cpus), load=os.getloadavg()[0])
        self._host_before = reading
        return Samples(
            host=self._host.config.name,
            at=at,
            sequence=self._host.next_sequence(),
            totals=totals,
            machines=tuple(machines[:MOST_MACHINES]),
        )

    def _run(self) -> None:
        while True:
            # At whole multiples, so that each sample has a place of its own in the portal's rings.
            at = (int(time.time()) // SAMPLE_SECONDS + 1) * SAMPLE_SECONDS
            if self._stop.wait(max(0.0, at - time.time())):
                return
            try:
                self._report(self.sample(at))
            except Exception:
                log.exception("sample")

    def _meet(self, clients: Mapping[UUID, QMPClient]) -> None:
        """Begin with machines that are new, forget those that ended; a new connection may be of a new run."""
        for machine_id in self._machines.keys() - clients.keys():
            self._forget(machine_id)
        for machine_id, client in clients.items():
            known = self._machines.get(machine_id)
            if known is None or known.client is not client:
                self._forget(machine_id)
                self._machines[machine_id] = _Machine(client)

    def _forget(self, machine_id: UUID) -> None:
        machine = self._machines.pop(machine_id, None)
        if machine is not None and machine.vitals is not None:
            machine.vitals.close()

    def _look_at(
        self, machine_id: UUID, machine: _Machine, links: Mapping[str, Counts], links_at: float
    ) -> MachineUsage | None:
        folder = self._host.folder(machine_id)
        if machine.vitals is None:
            machine.vitals = vitals_of(folder, machine_id)
        now = machine.vitals.read() if machine.vitals is not None else None
        hardware = living.living(folder)
        if machine.vitals is None or now is None or hardware is None:
            if machine.vitals is not None:  # it has ended; its next run is another process
                machine.vitals.close()
            machine.vitals = machine.before = None
            return None
        taps = (tap_name(nic) for nic in hardware.spec.nics)
        reading = Reading(
            life=str(now.started),
            cpu=Counted(time.monotonic(), {"cpu": (now.cpu_ticks * 1_000_000_000 // TICKS,)}),
            memory_bytes=now.resident_pages * PAGE_BYTES,
            disks=machine.disks,
            links=Counted(links_at, {tap: of_guest(links[tap]) for tap in taps if tap in links}),
        )
        found = usage(machine.before, reading, cpus=hardware.spec.cpus)
        machine.before = reading
        guest = float(machine.guest_memory) if machine.guest_memory is not None else None
        return machine_usage(found, machine_id=machine_id, guest_memory_bytes=guest)

    def _ask_qemus(self) -> None:
        """What their disks have done. Who does not answer in time is asked nothing new until it has."""
        loop = self._host.monitors.loop
        asked = asyncio.run_coroutine_threadsafe(self._ask_all(), loop)
        try:
            asked.result(_ANSWER_SECONDS + 1)
        except TimeoutError:
            log.warning("the monitors' loop is busy")

    async def _ask_all(self) -> None:
        """A few at once, so that events of other machines come through in between."""
        silent = [each for each in self._machines.values() if each.asking is None or each.asking.done()]
        ends = time.monotonic() + _ANSWER_SECONDS
        while silent and time.monotonic() < ends:
            some, silent = silent[:_AT_ONCE], silent[_AT_ONCE:]
            for machine in some:
                machine.asking = asyncio.create_task(self._ask(machine))
            await asyncio.wait([each.asking for each in some if each.asking], timeout=_FEW_SECONDS)

    async def _ask(self, machine: _Machine) -> None:
        try:
            answer: object = await machine.client.execute("query-blockstats")
            machine.disks = Counted(time.monotonic(), block_counters(answer))
            machine.guest_memory = await self._balloon(machine)
        except (QMPError, OSError, EOFError):
            pass  # it ends, or is about to

    async def _balloon(self, machine: _Machine) -> int | None:
        if machine.asks_balloon is False:
            return None
        try:
            if machine.asks_balloon is None:
                said = {"property": "guest-stats-polling-interval", "value": _BALLOON_SECONDS}
                await machine.client.execute("qom-set", {"path": _BALLOON, **said})
                machine.asks_balloon = True
            answer: object = await machine.client.execute(
                "qom-get", {"path": _BALLOON, "property": "guest-stats"}
            )
        except ExecuteError:  # it has none
            machine.asks_balloon = False
            return None
        return guest_memory(answer, now=time.time())
