"""A host: the product's own worker as a process of its own, in its own namespace, on its own state folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from tests.lab.broker import Broker
from tests.lab.network import OUTSIDE, HostNetwork
from tests.lab.processes import QEMU, SWTPM, end_processes_of, processes_of
from tests.lab.waiting import wait_for
from workers.contract.spec import DiscSpec, DiskSpec
from workers.host.locks import is_held
from workers.plan.names import MachineFolder, StateFolder, disk_file_name

FLEET_KEY = "a key for tests only"
ROOT = Path(__file__).parents[2]
_PROBED: list[str] = []


class LabHost:
    """A worker that can be started, killed and asked what is on its host."""

    def __init__(
        self,
        name: str,
        folder: Path,
        broker: Broker,
        network: HostNetwork,
        *,
        portal_url: str = "",
        **environ: str,
    ) -> None:
        self.name = name
        self.network = network
        self.state = StateFolder(folder)
        folder.mkdir(exist_ok=True)
        key = folder / "fleet.key"
        if not key.exists():
            key.write_text(FLEET_KEY)
        if _PROBED:
            # The product keeps the probe's answer for as long as the host is up; so does a laboratory of many hosts.
            (folder / "kvm-probe.json").write_text(_PROBED[0])
        self.log = folder / "worker.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._environ = {
            # A clean environment: Celery takes DJANGO_SETTINGS_MODULE for an order to load Django.
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "OFFSHOOT_HOST_NAME": name,
            "OFFSHOOT_HOST_STATE": str(folder),
            "OFFSHOOT_FLEET_KEY_FILE": str(key),
            "OFFSHOOT_BROKER_URL": broker.url,
            "OFFSHOOT_DNS_UPSTREAM": OUTSIDE,
            "OFFSHOOT_PORTAL_URL": portal_url or "http://127.0.0.1:9",
            **environ,
        }

    def start(self) -> None:
        """Start the worker, as the product does."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                (
                    *self.network.enter(), sys.executable, "-m", "celery", "-A", "workers.celery", "worker",
                    "--pool=threads", "--concurrency=64", "--without-mingle", "--without-gossip",
                    "--queues", f"host.{self.name}", "--hostname", self.name,
                ),
                cwd=ROOT, env=self._environ, stdout=log, stderr=log,
            )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL the worker, in the middle of whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def stop(self) -> None:
        """End the worker in the orderly way."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
            self._process = None

    def wait_for_death(self, *, seconds: float = 60) -> None:
        """Wait until the worker has died by itself."""
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker lives on: {self.words()[-3000:]}") from None
        self._process = None

    @contextmanager
    def dies_at(self, point: str, *, seconds: float = 60) -> Iterator[None]:
        """A worker that dies there in what is asked inside, and is started again when it has."""
        self.kill()
        self.set(OFFSHOOT_DIE_AT=point)
        self.start()
        yield
        self.wait_for_death(seconds=seconds)
        self.set(OFFSHOOT_DIE_AT="")
        self.start()

    def set(self, **environ: str) -> None:
        """Settings for the next start; an empty one is taken away."""
        for key, value in environ.items():
            if value:
                self._environ[key] = value
            else:
                self._environ.pop(key, None)

    def put_disc(self, image_id: UUID, disc: Path) -> DiscSpec:
        """Lay a disc into the host's cache, as if it had been fetched."""
        import hashlib

        self.state.images.mkdir(parents=True, exist_ok=True)
        target = self.state.images / f"{image_id}.iso"
        shutil.copy(disc, target)
        target.chmod(0o644)
        digest = hashlib.sha256(disc.read_bytes()).hexdigest()
        return DiscSpec(image_id=image_id, size_bytes=disc.stat().st_size, sha256=digest)

    def folder(self, machine_id: UUID) -> MachineFolder:
        """Where the machine lies."""
        return self.state.machine(machine_id)

    def disk_file(self, machine_id: UUID, disk: DiskSpec) -> Path:
        """Where a disk beside its machine lies."""
        return self.folder(machine_id).root / disk_file_name(disk.id, disk.kind)

    def said(self, machine_id: UUID) -> dict[str, str]:
        """What the test guest has said on its serial port so far; a later word replaces an earlier one."""
        log = self.folder(machine_id).console_log
        words: dict[str, str] = {}
        if log.exists():
            text = log.read_text(errors="replace")
            for line in text[: text.rfind("\n") + 1].splitlines():  # the last one may be half said
                if "OFFSHOOT " in line:
                    key, _, value = line.rpartition("OFFSHOOT ")[2].partition(" ")
                    words[key] = value.strip()
        return words

    def heard(self, machine_id: UUID, key: str, *, seconds: float = 60) -> str:
        """Wait until the guest has said `key`; what it said."""
        try:
            wait_for(f"the guest says {key!r}", lambda: key in self.said(machine_id), seconds=seconds)
        except AssertionError as exc:
            raise AssertionError(
                f"{exc}; it said {self.said(machine_id)}; worker: {self.words()[-2000:]}"
            ) from exc
        return self.said(machine_id)[key]

    def words(self) -> str:
        """The worker's own log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def qemus(self) -> list[int]:
        """The qemu processes of this host's machines."""
        return processes_of(self.state.machines, QEMU)

    def tpms(self) -> list[int]:
        """The TPMs of this host's machines."""
        return processes_of(self.state.machines, SWTPM)

    def close(self) -> None:
        """Take away everything: worker, machines, dnsmasq, files."""
        probed = self.state.root / "kvm-probe.json"
        if not _PROBED and probed.exists():
            _PROBED.append(probed.read_text())
        self.kill()
        end_processes_of(self.state.root)
        for path in self.state.machines.glob("*/life.lock"):
            wait_for("qemu is gone", lambda path=path: not is_held(path), seconds=10)  # type: ignore[misc]
        shutil.rmtree(self.state.root, ignore_errors=True)
