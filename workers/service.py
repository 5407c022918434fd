"""The worker's own life on a host: what it starts with, its heartbeat, and what it takes up again."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from uuid import UUID

import structlog
from celery import Celery

from workers.config import HostConfig
from workers.contract.errors import OffshootError
from workers.contract.host import HostFacts, InterfaceFacts, KvmAnswer, KvmProbe
from workers.contract.messages import ApplyMachine, Heartbeat, MachineObserved
from workers.effects.leftovers import clear_leftovers
from workers.guests import Guests
from workers.host import uplinks, wishes
from workers.host.backup_places import place_facts
from workers.host.blocks import remove_left_copiers
from workers.host.boot import note_boot
from workers.host.disks import takes_direct_io
from workers.host.facts import host_facts, host_usage
from workers.host.interfaces import interface_facts
from workers.host.monitor import MonitorLoop
from workers.host.pools import pool_facts, sweep
from workers.host.probe import cached_probe
from workers.network_check import NetworkCheck, make_uplinks_again
from workers.observation import observe
from workers.operations import apply, resume
from workers.plan.names import MachineFolder
from workers.recovery import go_on_where_room_came
from workers.reporting import Reporter
from workers.sampling import Sampler
from workers.screens import Screens
from workers.this_host import Host
from workers.watcher import Watcher

HEARTBEAT_SECONDS = 3.0
_HOOD_SECONDS = 10.0
log = structlog.get_logger()


class HostService:
    """Everything that runs in a host's worker beside its tasks."""

    def __init__(self, config: HostConfig, app: Celery) -> None:
        wishes.prepare(config.state)
        pool_facts(config)  # our folder in each is there before the first disk
        place_facts(config)
        remove_left_copiers(config)
        sweep(config)
        self.config = config
        self._reporter = Reporter(app)
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="service")
        self._probe: Future[KvmProbe] = self._pool.submit(self._run_probe)
        self._monitors = MonitorLoop()
        self.host = Host(
            config=config,
            monitors=self._monitors,
            kvm=self._probe.result,
            report_progress=self._reporter.send,
            report_observed=self._reporter.send,
            direct_io=takes_direct_io(config.state.root),
        )
        self._guests = Guests(self.host)
        self.host.agent_facts = self._guests.facts
        self._watcher = Watcher(self.host, self._guests)
        self.host.on_launch = self._watcher.watch
        self._networks = NetworkCheck(self.host)
        self._sampler = Sampler(self.host, self._watcher.clients, self._reporter.send)
        self.screens = Screens(self.host, self._watcher.clients, self._reporter.send)
        self._started = int(time.time())
        self._stop = threading.Event()
        self._facts: HostFacts | None = None
        self._cards: tuple[float, tuple[str, ...], tuple[InterfaceFacts, ...]] = (float("-inf"), (), ())
        self._hood: dict[UUID, tuple[float, float]] = {}
        self._recovery: Future[None] | None = None
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Listen to what runs already, take up what was begun, tell the portal of this host."""
        make_uplinks_again(self.host)
        self._watcher.watch_all()
        for message in resume(self.host):
            self._pool.submit(self._resume, message)
        note_boot(self.config.state)
        threading.Thread(target=clear_leftovers, args=(self.host,), name="leftovers", daemon=True).start()
        self._networks.start()
        self._heart.start()
        self._sampler.start()

    def close(self) -> None:
        """Stop watching and reporting; machines go on."""
        self._stop.set()
        self._heart.join(5)
        self._sampler.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._networks.close()
        self._guests.close()
        self._reporter.close()
        self._monitors.close()

    def heartbeat(self) -> Heartbeat:
        """This host and its machines, now."""
        probe = self._probe.result() if self._probe.done() else None
        interfaces = self._interfaces()
        if self._facts is None or (self._facts.kvm, self._facts.interfaces) != (probe, interfaces):
            self._facts = host_facts(probe, interfaces)
        return Heartbeat(
            host=self.config.name,
            sequence=self.host.next_sequence(),
            started=self._started,
            gateway=self.config.gateway,
            facts=self._facts,
            usage=host_usage(self.config.state.root).model_copy(
                update={
                    "pools": pool_facts(self.config),
                    "backup_places": place_facts(self.config),
                    "repairs": self._networks.repairs,
                }
            ),
            machines=tuple(self._observe_machines()),
        )

    def _interfaces(self) -> tuple[InterfaceFacts, ...]:
        """The host's cards and bridges, looked at as often as its networks are, and when we have made or removed a bridge."""
        made = tuple(sorted(uplinks.made_bridges(self.config.state)))
        read_at, known, found = self._cards
        if time.monotonic() - read_at < self.config.network_check_seconds and known == made:
            return found
        try:
            found = interface_facts(made)
        except OffshootError as exc:
            log.warning("interfaces", error=exc.detail)
        self._cards = (time.monotonic(), made, found)
        return found

    def _run_probe(self) -> KvmProbe:
        config = self.config
        try:
            probe = cached_probe(
                folder=config.state.root, uid=config.uid, gid=config.gid, kvm_gid=config.kvm_gid
            )
        except Exception as exc:  # no room, say: the host works, without acceleration
            log.exception("kvm probe")
            probe = KvmProbe(answer=KvmAnswer.QEMU_FAILED, detail=f"the trial could not be made: {exc}")
        log.info("kvm probe", answer=probe.answer.value, detail=probe.detail)
        return probe

    def _resume(self, message: ApplyMachine) -> None:
        log.info("taken up again", machine=str(message.spec.machine_id), operation=str(message.operation_id))
        try:
            apply(self.host, message, anew=True)
        except Exception:
            log.exception("not taken up again", machine=str(message.spec.machine_id))

    def _observe_machines(self) -> list[MachineObserved]:
        seen = []
        for path in sorted(self.config.state.machines.glob("*/")):
            wish = wishes.newest_wish(MachineFolder(path))
            if wish is None:
                continue
            machine_id = wish.spec.machine_id
            try:
                seen.append(observe(self.host, machine_id, brief=not self._hood_is_due(machine_id)))
            except Exception:  # the host and its other machines are told of all the same
                log.exception("not observed", machine=str(machine_id))
        return seen

    def _hood_is_due(self, machine_id: UUID) -> bool:
        """The logs have grown, and were not told for a while."""
        folder = self.host.folder(machine_id)
        changed = max(
            (path.stat().st_mtime for path in (folder.console_log, folder.qemu_log) if path.exists()),
            default=0.0,
        )
        told, known = self._hood.get(machine_id, (0.0, 0.0))
        now = time.monotonic()
        if changed <= known or now - told < _HOOD_SECONDS:
            return False
        self._hood[machine_id] = (now, changed)
        return True

    def _beat(self) -> None:
        while not self._stop.is_set():
            try:
                self._reporter.send(self.heartbeat())
            except Exception:
                log.exception("heartbeat")
            if self._recovery is None or self._recovery.done():
                self._recovery = self._pool.submit(go_on_where_room_came, self.host)
            # Told soon after the probe has ended; otherwise at the usual pace.
            self._stop.wait(HEARTBEAT_SECONDS if self._probe.done() else 0.5)
