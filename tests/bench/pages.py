"""Figure 3: the pages with 1,000 machines on two hosts, from the real web server over one kept-alive connection."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from launch.health import accepts
from tests.bench.site import LISTEN, ROOT
from tests.bench.table import Row, alone, count, no_slower
from tests.lab.network import HostNetwork
from tests.lab.waiting import wait_for

_MOST_QUERIES = 10
_LIST_MS = 100
_NOISE_MS = 5
_WARM_UP = 3
_ROUND = 10


@dataclass(frozen=True)
class _Portal:
    """A state folder with its web server alone: neither workers nor Redis, since pages are drawn from the database."""

    state: Path
    environment: Mapping[str, str]

    def fill(self, *arguments: str) -> Any:
        """Run tests.bench.fill over this folder; its answer."""
        argv = (sys.executable, "-m", "tests.bench.fill", *arguments)
        with (self.state / "fill.log").open("ab") as log:
            done = subprocess.run(
                argv, cwd=ROOT, env=self.environment, check=True, stdout=subprocess.PIPE, stderr=log
            )
        return json.loads(done.stdout.splitlines()[-1])  # before it may stand what the portal logs


def measure(state: Path, network: HostNetwork, *, rounds: int) -> list[Row]:
    """The rows of the table. A round is ten requests a page with both hosts heard, then ten with one of them silent."""
    with _portal(state, network) as portal:
        filled = portal.fill("fill")
        pages = {
            "list": "/machines/",
            "machine": f"/machines/{filled['machine']}/",
            "hosts": "/hosts/",
            "host": f"/hosts/{filled['host']}/",
        }
        queries = portal.fill("queries", *pages.values())
        heard: dict[str, list[float]] = {name: [] for name in pages}
        silent: dict[str, list[float]] = {name: [] for name in pages}
        with _client(portal, filled["session"]) as client:
            for _ in range(rounds):
                for command, seconds in (("hear", heard), ("silence", silent)):
                    portal.fill(command)
                    for name, path in pages.items():
                        seconds[name] += _timed(client, path)
        beats = portal.fill("beats", str(_ROUND))
        figures = portal.fill("figures", str(_ROUND))
    rows = []
    for name, path in pages.items():
        most = _LIST_MS if name in ("list", "machine") else None
        rows.append(alone(f"3 page with 1,000 machines: {name}", heard[name], most_median_ms=most))
        rows.append(
            no_slower(f"3 the same, one host silent: {name}", silent[name], heard[name], noise_ms=_NOISE_MS)
        )
        rows.append(count(f"3 queries: {name}", queries[path], most=_MOST_QUERIES))
    rows.append(alone("3 a heartbeat of 500 machines without news, written down by the portal", beats))
    rows.append(alone("figures of 500 machines, one message, kept by the portal", figures["message"]))
    rows.append(alone("the same, a minute of them rolled up", figures["minute"]))
    rows.append(alone("the same, an hour of them rolled up", figures["hour"]))
    return rows


def _timed(client: httpx.Client, path: str) -> list[float]:
    """Seconds from the request to its last byte."""
    seconds = []
    for _ in range(_WARM_UP + _ROUND):
        begun = time.perf_counter()
        answer = client.get(path)
        seconds.append(time.perf_counter() - begun)
        if answer.status_code != httpx.codes.OK:
            raise RuntimeError(f"{path}: {answer.status_code}")
    return seconds[_WARM_UP:]


def _client(portal: _Portal, session: str) -> httpx.Client:
    transport = httpx.HTTPTransport(uds=str(portal.state / "portal" / "web.sock"))
    cookies = {"sessionid": session}
    return httpx.Client(transport=transport, base_url=f"http://{LISTEN}", cookies=cookies, timeout=30)


@contextmanager
def _portal(state: Path, network: HostNetwork) -> Iterator[_Portal]:
    state.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "OFFSHOOT_STATE": str(state),
        "OFFSHOOT_LISTEN": LISTEN,
    }
    prepare = (sys.executable, "manage.py", "prepare_installation")
    subprocess.run(prepare, cwd=ROOT, env=environment, check=True)
    with (state / "web.log").open("wb") as log:
        server = subprocess.Popen(
            (*network.enter(), sys.executable, "-m", "portal.serve"),
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is the bench's to pass on
        )
    try:
        wait_for("the web server listens", lambda: accepts(state / "portal" / "web.sock"), seconds=60)
        yield _Portal(state, environment)
    finally:
        server.terminate()
        server.wait(20)
        shutil.rmtree(state, ignore_errors=True)
