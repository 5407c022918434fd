"""`python -m launch` as a person has it, in a network namespace of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx

from launch.installation import PORTAL_ACCOUNT
from tests.lab.database import lay_database
from tests.lab.folder import short_folder
from tests.lab.network import HostNetwork
from tests.lab.waiting import wait_for

ROOT = Path(__file__).resolve().parent.parent.parent
LISTEN = "127.0.0.1:8000"
PASSWORD = re.compile(r"^Sign in as  (\S+)  with the password  (\S{20,})$", re.MULTILINE)


class Launcher:
    """The launcher over a state folder, in a network namespace of its own."""

    def __init__(self, state: Path, network: HostNetwork, checkout: Path = ROOT) -> None:
        self.state = state
        self.network = network
        self._checkout = checkout
        self._log = state.with_name(state.name + ".out")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **settings: str) -> str:
        """Start it and wait until it says that all runs, or ends; what it said. `settings` are OFFSHOOT_* variables."""
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                (*self.network.enter(), sys.executable, "-m", "launch"),
                cwd=self._checkout,
                env={
                    "PATH": os.environ["PATH"],
                    "OFFSHOOT_STATE": str(self.state),
                    "OFFSHOOT_LISTEN": LISTEN,
                    **settings,
                },
                stdout=log,
                stderr=log,
            )
        process = self.process
        wait_for(
            "the launcher is up, or gives up",
            lambda: "Ctrl-C" in self.words() or process.poll() is not None,
            seconds=120,
        )
        return self.words()

    def words(self) -> str:
        """What it said on the terminal since its start."""
        return self._log.read_text()

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ctrl-C, or another signal; its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def manage(self, *arguments: str) -> str:
        """Run `python -m launch.manage` to its end, as an administrator does; what it said."""
        finished = subprocess.run(
            (*self.network.enter(), sys.executable, "-m", "launch.manage", *arguments),
            cwd=self._checkout,
            env={"PATH": os.environ["PATH"], "OFFSHOOT_STATE": str(self.state), "OFFSHOOT_LISTEN": LISTEN},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    def children(self) -> dict[str, tuple[int, int]]:
        """Process and effective account (uid) of each child, by what it runs."""
        assert self.process is not None
        names = {
            "redis-server": "redis", "portal.serve": "web", "portal.celery worker": "portal-worker",
            "portal.celery beat": "beat", "workers.celery": "host-worker", "workers.gateway": "gateway",
        }  # fmt: skip
        found = {}
        listing = subprocess.run(
            ("ps", "-o", "pid=,euid=,args=", "--ppid", str(self.process.pid)),
            check=False,
            capture_output=True,
            text=True,
        ).stdout
        for line in listing.splitlines():
            pid, uid, command = line.split(None, 2)
            name = next((name for words, name in names.items() if words in command), command)
            found[name] = (int(pid), int(uid))
        return found

    def belonging(self) -> dict[int, str]:
        """Every living process that has the state folder in its command line or its environment."""
        needle = str(self.state).encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes()
                if needle in command or needle in (folder / "environ").read_bytes():
                    found[int(folder.name)] = command.replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
        return found

    def client(self) -> httpx.Client:
        """A browser's requests, on the socket that needs no network namespace."""
        transport = httpx.HTTPTransport(uds=str(self.state / "portal" / "web.sock"))
        return httpx.Client(transport=transport, base_url=f"http://{LISTEN}", timeout=30)

    def close(self) -> None:
        """Nothing of it stays."""
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGTERM)
        for pid in self.belonging():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        wait_for("nothing runs", lambda: not self.belonging(), seconds=20)
        shutil.rmtree(self.state, ignore_errors=True)
        self._log.unlink(missing_ok=True)


@contextmanager
def installation(checkout: Path = ROOT, *, tables: bool = False) -> Iterator[Launcher]:
    """An installation that has not been started yet, with its tables or without any; nothing of it stays."""
    with (
        short_folder() as folder,
        closing(HostNetwork(folder, internet=False)) as network,
        closing(Launcher(folder / "s", network, checkout)) as launcher,
    ):
        if tables:
            lay_database(launcher.state / "portal", account=PORTAL_ACCOUNT)
            (launcher.state / ".launcher").touch()  # by it the launcher knows its own folder
        yield launcher
