"""The portal's own web server, a host's own console gateway, and a browser's sockets, all of them real."""

from __future__ import annotations

import base64
import os
import select
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx
from django.conf import settings
from django.db import connection
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from portal.accounts.models import User
from portal.machines.models import Machine
from tests.lab.broker import Broker
from tests.lab.waiting import wait_for
from tests.web.people import signed_in
from workers.plan.names import StateFolder

Connection = socket.socket  # `Browser.socket` hides the module from its own annotations
ROOT = Path(__file__).parents[2]


def memory_mib(pid: int) -> float:
    """What a process and its children hold in memory that belongs to no file."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    own = int(status.split("RssAnon:")[1].split()[0]) / 1024 if "RssAnon:" in status else 0.0
    return own + sum(memory_mib(int(child)) for child in children)


class Site:
    """Web server, gateway and Redis over the test's own database; one for a module of tests."""

    def __init__(self, folder: Path, *, static: Path | None = None, name: str = "127.0.0.1") -> None:
        """`static`: where styles and scripts were collected, for a real browser; `name`: what people type into it."""
        if connection.vendor != "sqlite":
            raise RuntimeError("the second process finds the database by its file")
        self.broker = Broker(folder / "redis")
        state = folder / "state"
        (state / "portal").mkdir(parents=True)
        # The same keys, so that sessions that the test makes are good there.
        shutil.copy(settings.PORTAL_DIR / "secrets.json", state / "portal")
        (state / "portal" / "db.sqlite3").symlink_to(connection.settings_dict["NAME"])
        if static is not None:
            (state / "portal" / "static").symlink_to(static)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.listen = f"127.0.0.1:{free.getsockname()[1]}"
        self.origin = f"http://{name}:{self.listen.rpartition(':')[2]}"
        self.log = folder / "log"
        common = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        self._environ = common | {
            "OFFSHOOT_STATE": str(state),
            "OFFSHOOT_LISTEN": self.listen,
            "OFFSHOOT_ORIGIN": self.origin,
            "OFFSHOOT_BROKER_URL": self.broker.url,
            "OFFSHOOT_PORTAL_SOCKET": str(folder / "web.sock"),
        }  # fmt: skip
        self.portal = self._start("portal.serve", self._environ)
        self.host_state = StateFolder(folder / "host")
        self.host_state.machines.mkdir(parents=True)
        key = folder / "fleet.key"
        key.write_text(settings.FLEET_KEY)
        self.gateway_socket = self.host_state.root / "gateway.sock"
        self.gateway = self._start("workers.gateway", common | {
            "OFFSHOOT_HOST_NAME": "rack-1",
            "OFFSHOOT_HOST_STATE": str(self.host_state.root),
            "OFFSHOOT_FLEET_KEY_FILE": str(key),
        })  # fmt: skip
        try:
            wait_for("the portal and the gateway listen", self._listens)
        except AssertionError as exc:
            self.close()
            raise AssertionError(f"{exc}; {self.log.read_text()}") from exc

    def close(self) -> None:
        """End all of it."""
        for process in (self.portal, self.gateway):
            process.terminate()
            process.wait(20)
        self.broker.close()

    def command(self, code: str) -> None:
        """Run some lines in a process of the portal's, to its end, as commands of manage.py are."""
        argv = (sys.executable, "-c", f"import django; django.setup(); {code}")
        environ = self._environ | {"DJANGO_SETTINGS_MODULE": "portal.settings"}
        subprocess.run(argv, cwd=ROOT, env=environ, check=True, timeout=60)

    def _start(self, module: str, environ: dict[str, str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            argv = (sys.executable, "-m", module)
            return subprocess.Popen(argv, cwd=ROOT, env=environ, stdout=log, stderr=log)

    def _listens(self) -> bool:
        assert self.portal.poll() is None, self.log.read_text()
        assert self.gateway.poll() is None, self.log.read_text()
        try:
            answered = httpx.get(f"{self.origin}/health/").status_code == 200
        except httpx.TransportError:
            return False
        return answered and self.gateway_socket.exists()


class Screen:
    """Stands where qemu's VNC socket of a machine is."""

    def __init__(self, site: Site, machine_id: UUID) -> None:
        path = site.host_state.machine(machine_id).vnc_socket
        path.parent.mkdir(parents=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        path.chmod(0o666)  # the gateway runs as the machines' account
        self._listener.listen(4)
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self._path.unlink()

    def looked_at(self) -> socket.socket:
        """The gateway's connection, once it has come."""
        self._listener.settimeout(20)
        screen, _ = self._listener.accept()
        screen.settimeout(20)
        return screen

    def nobody_came(self) -> bool:
        """No connection waits."""
        return select.select([self._listener], [], [], 0)[0] == []


class Browser:
    """A person's browser with a session of its own; nobody's where there is no user."""

    def __init__(self, site: Site, user: User | None) -> None:
        self.site = site
        cookies = {"sessionid": signed_in(user).cookies["sessionid"].value} if user else {}
        self.web = httpx.Client(base_url=site.origin, cookies=cookies, headers={"Origin": site.origin})
        self.web.get("/machines/" if user else "/sign-in/")
        self.web.headers["X-CSRFToken"] = self.web.cookies["csrftoken"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.web.close()

    def sign_out(self) -> None:
        """Press the button."""
        assert self.web.post("/sign-out/").status_code == 302

    def ticket(self, machine: Machine) -> str:
        """A ticket for the machine's screen."""
        answer = self.web.post(f"/console/{machine.pk}/ticket/")
        assert answer.status_code == 200, answer.text
        return str(answer.json()["ticket"])

    def socket(self, path: str, *words: str, origin: str | None = "") -> ClientConnection:
        """A WebSocket with these subprotocols, from the site's own pages unless told otherwise."""
        return connect(
            f"ws://{self.site.listen}{path}",
            origin=Origin(self.site.origin if origin == "" else origin) if origin is not None else None,
            subprotocols=[Subprotocol(word) for word in words] or None,
            additional_headers={"Cookie": self.cookie},
            compression=None,
            max_size=None,
        )

    def console(self, machine: Machine, *tickets: str, origin: str | None = "") -> ClientConnection:
        """The machine's console, as the page opens it."""
        words = ("binary", *(f"ticket.{ticket}" for ticket in tickets))
        return self.socket(f"/ws/console/{machine.pk}/", *words, origin=origin)

    def unread_console(self, machine: Machine) -> Connection:
        """A console that is open and of which nothing is read: the bare connection after the handshake."""
        raw = socket.create_connection(("127.0.0.1", int(self.site.listen.rsplit(":", 1)[1])))
        raw.settimeout(20)
        lines = [
            f"GET /ws/console/{machine.pk}/ HTTP/1.1",
            f"Host: {self.site.listen}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Origin: {self.site.origin}",
            f"Cookie: {self.cookie}",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: binary, ticket.{self.ticket(machine)}",
        ]
        raw.sendall("\r\n".join([*lines, "", ""]).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += raw.recv(1)
        assert head.startswith(b"HTTP/1.1 101 "), head
        return raw

    @property
    def cookie(self) -> str:
        """The header that goes with every request."""
        return "; ".join(f"{key}={value}" for key, value in self.web.cookies.items())


def code_of(opened: ClientConnection) -> int | None:
    """Read to the end of a WebSocket; the code with which it was closed."""
    try:
        while True:
            opened.recv(timeout=20)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


def write_until_blocked(target: socket.socket, block: bytes, *, most: int) -> int:
    """Write until nothing is taken for two seconds, or `most` bytes are; how many were."""
    target.setblocking(False)
    written = 0
    view: Any = memoryview(block)
    while written < most and select.select([], [target], [], 2)[1]:
        try:
            written += target.send(view[written % len(block) :])
        except BlockingIOError:
            continue
    return written
