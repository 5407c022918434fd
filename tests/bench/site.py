"""The whole product as `make run` starts it, in a network namespace of its own, with a signed-in browser."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import httpx
from celery import Celery

from tests.lab.network import HostNetwork
from tests.lab.processes import end_processes_of
from tests.lab.waiting import wait_for
from workers.contract.messages import TASK_APPLY, ApplyMachine, host_queue
from workers.host import wishes
from workers.plan.names import MachineFolder, StateFolder

ROOT = Path(__file__).resolve().parents[2]
HOST = "bench"
LISTEN = "127.0.0.1:8000"
_PASSWORD = re.compile(r"^Sign in as  (\S+)  with the password  (\S+)$", re.MULTILINE)
_STATE = re.compile(r'data-machine-state="(\w+)"')
_NETWORK = re.compile(r'name="network".*?value="([0-9a-f-]{36})"', re.DOTALL)
_COMPLAINT = re.compile(r'class="invalid-feedback[^>]*>([^<]+)<|class="alert[^>]*>([^<]+)<')
_PROCESSES = {
    "portal.serve": "portal: web server",
    "portal.celery worker": "portal: worker",
    "portal.celery beat": "portal: beat",
    "workers.celery": "host: worker",
    "workers.gateway": "host: console gateway",
    "redis-server": "Redis",
}


class Site:
    """A running installation."""

    def __init__(self, state: Path, launcher: subprocess.Popen[bytes], words: str) -> None:
        self.host = StateFolder(state / "host")
        self._launcher = launcher
        self._broker = Celery("bench", broker=f"redis+socket://{state / 'redis' / 'redis.sock'}")
        self._broker.conf.update(task_serializer="json", task_publish_retry=False)
        transport = httpx.HTTPTransport(uds=str(state / "portal" / "web.sock"))
        self.client = httpx.Client(transport=transport, base_url=f"http://{LISTEN}", timeout=30)
        shown = _PASSWORD.search(words)
        if shown is None:
            raise RuntimeError(f"the launcher said no password: {words}")
        self.client.get("/sign-in/")
        self.post("/sign-in/", login=shown[1], password=shown[2])
        form = self.client.get("/machines/new/").text
        self.private_network = _NETWORK.findall(form)[0]
        """The network's id as the form of a new machine offers it."""

    def post(self, address: str, **form: str) -> str:
        """Press a button; where the answer leads to."""
        token = {"X-CSRFToken": self.client.cookies["csrftoken"]}
        answer = self.client.post(address, data=form, headers=token)
        if answer.status_code != httpx.codes.FOUND:
            raise RuntimeError(f"{address}: {answer.status_code}, {_COMPLAINT.findall(answer.text)}")
        return answer.headers["Location"]

    def templates(self) -> list[str]:
        """The addresses of the forms of the templates that are ready."""
        return re.findall(r'href="(/templates/[0-9a-f-]{36}/)"', self.client.get("/templates/").text)

    def ask_host(self, message: ApplyMachine) -> None:
        """Lay a wish on the host's queue, past the portal."""
        self._broker.send_task(TASK_APPLY, args=[message.to_wire()], queue=host_queue(HOST), retry=False)

    def folder(self, machine_id: UUID) -> MachineFolder:
        """Where the machine lies on the host."""
        return self.host.machine(machine_id)

    def await_handled(self, machine_id: UUID, generation: int) -> None:
        """The host's worker has done with this generation."""
        folder = self.folder(machine_id)

        def handled() -> bool:
            end = wishes.handled(folder)
            return end is not None and end.generation >= generation

        wait_for(f"{machine_id} generation {generation}", handled, pause=0.01)

    def await_shown(self, address: str, state: str) -> None:
        """The machine's page says this state."""

        def shown() -> bool:
            found = _STATE.search(self.client.get(address).text)
            return found is not None and found[1] == state

        wait_for(f"{address} shows {state!r}", shown, pause=0.1)

    def await_gone(self, machine_id: UUID) -> None:
        """No trace of the machine is left, neither on the host nor in the portal."""
        root, address = self.folder(machine_id).root, f"/machines/{machine_id}/"
        wait_for(f"{root} is gone", lambda: not root.exists(), pause=0.01)
        gone = httpx.codes.NOT_FOUND
        wait_for(f"{address} is gone", lambda: self.client.get(address).status_code == gone, pause=0.1)

    def processes(self) -> dict[str, int]:
        """The pid of each process of the installation, by its name."""
        pid = self._launcher.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        commands = {
            int(child): Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            for child in children
        }
        return {
            name: child
            for words, name in _PROCESSES.items()
            for child, command in commands.items()
            if words in command
        }

    def close(self) -> None:
        """The browser and the bench's own end of the queue."""
        self.client.close()
        self._broker.close()


@contextmanager
def running_site(folder: Path, network: HostNetwork) -> Iterator[Site]:
    """Start it, and take everything of it away afterwards."""
    state, said = folder / "site", folder / "site.out"
    with said.open("wb") as log:
        launcher = subprocess.Popen(
            (*network.enter(), sys.executable, "-m", "launch"),
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "OFFSHOOT_STATE": str(state),
                "OFFSHOOT_LISTEN": LISTEN,
                "OFFSHOOT_HOST_NAME": HOST,
            },
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is the bench's to pass on
        )
    try:
        wait_for(
            "the site is up",
            lambda: "Ctrl-C" in said.read_text() or launcher.poll() is not None,
            seconds=120,
        )
        site = Site(state, launcher, said.read_text())
        try:
            yield site
        finally:
            site.close()
    finally:
        if launcher.poll() is None:
            launcher.send_signal(signal.SIGINT)
            launcher.wait(60)
        end_processes_of(state)
        shutil.rmtree(state, ignore_errors=True)
