"""The portal as it is run: web server, worker and clock as processes of their own, and a person who uses it over HTTP."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, unix_connect
from websockets.typing import Origin, Subprotocol

from launch.health import accepts, site_health
from launch.processes import BEAT, GATEWAY, PORTAL_WORKER, WEB
from tests.lab.broker import Broker
from tests.lab.database import lay_database
from tests.lab.host import FLEET_KEY, ROOT, LabHost
from tests.lab.network import HostNetwork
from tests.lab.waiting import wait_for

LISTEN = "127.0.0.1:8000"


class LabPortal:
    """A portal over a state folder, in a network namespace of its own, so that its port is always free."""

    def __init__(self, folder: Path, broker: Broker, network: HostNetwork) -> None:
        self.network = network
        self.origin = f"http://{LISTEN}"
        self.log = folder.with_name(folder.name + ".log")
        self._folder = folder
        self.socket = folder / "portal" / "web.sock"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._environ = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "OFFSHOOT_STATE": str(folder),
            "OFFSHOOT_BROKER_URL": broker.url,
            "OFFSHOOT_LISTEN": LISTEN,
        }
        (folder / "portal").mkdir(parents=True, mode=0o700)
        secrets = {"django_key": "a key for tests only, of some length", "fleet_key": FLEET_KEY}
        (folder / "portal" / "secrets.json").write_text(json.dumps(secrets))
        lay_database(folder / "portal", account="root")
        self.manage("prepare_installation")
        made = json.loads(self.manage("ensure_administrator", "--json"))["administrator"]
        self.name, self.password = made["name"], made["password"]

    @property
    def url_for_hosts(self) -> str:
        """Where a host's worker fetches discs; a unix socket is reached from every network namespace."""
        return f"http+unix:{self.socket}"

    def manage(self, *arguments: str) -> str:
        """Run manage.py to its end; what it said."""
        finished = subprocess.run(
            (sys.executable, "manage.py", *arguments),
            cwd=ROOT, env=self._environ, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    def start(self) -> None:
        """Start all three and wait until the site says that all is well."""
        with self.log.open("ab") as log:
            for arguments in (WEB, PORTAL_WORKER, BEAT):
                self._processes.append(
                    subprocess.Popen(
                        (*self.network.enter(), sys.executable, *arguments),
                        cwd=ROOT, env=self._environ, stdout=log, stderr=log,
                    )
                )  # fmt: skip
        try:
            wait_for("the site is well", lambda: site_health(self.socket).get("ok"), seconds=60)
        except AssertionError as exc:
            raise AssertionError(f"{exc}: {self.log.read_text()[-3000:]}") from exc

    def stop(self) -> None:
        """End all three in the orderly way; safe to call twice."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        self._processes.clear()

    close = stop

    def client(self) -> httpx.Client:
        """A browser that is not signed in."""
        return httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.socket)), base_url=self.origin, timeout=30
        )

    def sign_in(self, name: str = "", password: str = "") -> httpx.Client:
        """A browser of the administrator, or of `name`, signed in."""
        client = self.client()
        client.get("/sign-in/")
        answer = self.post(client, "/sign-in/", login=name or self.name, password=password or self.password)
        assert answer.status_code == 302, answer.text
        return client

    def post(self, client: httpx.Client, path: str, **form: str) -> httpx.Response:
        """Send a form, with the token that shows that it is the site's own."""
        token = client.cookies["csrftoken"]
        return client.post(path, data={**form, "csrfmiddlewaretoken": token})

    def make_machine(self, client: httpx.Client, name: str, **changes: str) -> str:
        """Press Create; the machine's id. A small custom size, unless `changes` say otherwise."""
        network = re.search(
            r'name="network".*?value="([0-9a-f-]{36})"', client.get("/machines/new/").text, re.DOTALL
        )
        assert network is not None
        form = {
            "name": name, "size": "custom", "cpus": "1", "memory_gib": "0.25", "disk_gib": "1", "disk_kind": "growing",
            "network": network[1], "disk_bus": "virtio", "nic_model": "virtio",
        }  # fmt: skip
        answer = self.post(client, "/machines/new/", **(form | changes))
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"].split("/")[2]

    def state_of(self, client: httpx.Client, machine_id: str) -> str:
        """What the machine's page says of its state; 'gone' where there is no such page."""
        page = client.get(f"/machines/{machine_id}/")
        if page.status_code == httpx.codes.NOT_FOUND:
            return "gone"
        found = re.search(r'data-machine-state="(\w+)"', page.text)
        assert found is not None, page.text
        return found[1]

    def wait_state(self, client: httpx.Client, machine_id: str, state: str, *, seconds: float = 60) -> None:
        """Wait until the machine's page says so."""
        try:
            wait_for(
                f"machine {machine_id} is {state}",
                lambda: self.state_of(client, machine_id) == state,
                seconds=seconds,
                pause=0.2,
            )
        except AssertionError as exc:
            page = client.get(f"/machines/{machine_id}/").text
            words = " ".join(re.sub(r"<[^>]+>", " ", page.partition("<h1")[2]).split())
            raise AssertionError(f"{exc}; its page: {words[:1500]}") from exc

    def ticket(self, client: httpx.Client, machine_id: str) -> str:
        """A ticket for the machine's console."""
        answer = client.post(
            f"/console/{machine_id}/ticket/", headers={"X-CSRFToken": client.cookies["csrftoken"]}
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["ticket"])

    def socket_of(
        self, client: httpx.Client, path: str, *subprotocols: str, origin: str = ""
    ) -> ClientConnection:
        """A WebSocket of the site, with the browser's cookies."""
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        return unix_connect(
            str(self.socket),
            uri=f"ws://{LISTEN}{path}",
            origin=Origin(origin or self.origin),
            subprotocols=[Subprotocol(each) for each in subprotocols] or None,
            additional_headers={"Cookie": cookies},
            compression=None,
            proxy=None,
        )

    def screen(self, client: httpx.Client, machine_id: str) -> ClientConnection:
        """The machine's console, opened with a ticket as the page does it."""
        ticket = self.ticket(client, machine_id)
        return self.socket_of(client, f"/ws/console/{machine_id}/", "binary", f"ticket.{ticket}")

    def banner(self, client: httpx.Client, machine_id: str) -> Any:
        """The first words of the machine's screen."""
        with self.screen(client, machine_id) as screen:
            return screen.recv(timeout=20)


@contextmanager
def gateway_of(host: LabHost) -> Iterator[subprocess.Popen[bytes]]:
    """The console gateway of a host, as the product runs it."""
    socket = host.state.root / "gateway.sock"
    with host.log.open("ab") as log:
        process = subprocess.Popen(
            (*host.network.enter(), sys.executable, *GATEWAY),
            cwd=ROOT, env=host._environ, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_for("the gateway listens", lambda: socket.exists() and accepts(socket), seconds=30)
        yield process
    finally:
        process.terminate()
        process.wait(20)
