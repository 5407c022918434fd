"""`make run`: bring the whole installation up, say where it is, keep it up, take it down at Ctrl-C. Machines go on."""

from __future__ import annotations

import hashlib
import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from launch import ground
from launch.health import accepts, site_health, worker_is_up
from launch.installation import Installation, installation
from launch.processes import host_processes, portal_processes, redis_process
from launch.readable import readable_code
from launch.site import manage
from launch.supervisor import Supervisor

_HEALTHY_SECONDS = 60.0
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Stop(Exception):
    """Ctrl-C or SIGTERM."""


def main() -> None:
    """Run until told to stop. Every failure is one line and status 1."""
    begun = time.monotonic()
    place = installation()
    try:
        ground.check(place)
        _lock = ground.hold(place)
        ground.check_origin(place)
        ground.check_port(place.listen)
        ground.make_accounts()
        ground.make_folders(place)
        place = readable_code(place)
    except ground.NotReady as exc:
        sys.exit(f"offshoot: {exc}")
    for number in _ENDING:
        signal.signal(number, _stop)
    supervisor = Supervisor(folder=place.code, logs=place.state / "log")
    try:
        _bring_up(place, supervisor)
        print(f"Offshoot runs at {place.address}  (up in {time.monotonic() - begun:.1f} s)")
        if not place.is_local:
            print(f"It listens on {place.listen}, without TLS: put a proxy with TLS before it.")
        print("Ctrl-C stops the site; machines go on running.", flush=True)
        while True:
            for line in supervisor.restart_ended():
                print(f"offshoot: {line}", file=sys.stderr, flush=True)
            time.sleep(0.5)
    except _Stop:
        print("\nStopping. Machines go on running.", flush=True)
    except ground.NotReady as exc:
        print(f"offshoot: {exc}", file=sys.stderr)
        raise SystemExit(1) from None
    finally:
        supervisor.stop()


def _bring_up(place: Installation, supervisor: Supervisor) -> None:
    """All processes, healthy; on the first run then the administrator, printed at once. Raises NotReady."""
    started = int(time.time())
    supervisor.start([redis_process(place)])
    _await(supervisor, "Redis", lambda: accepts(place.redis_socket), seconds=15)
    stamp = _digest(place.code)
    prepared = place.state / "portal" / "prepared"
    is_prepared = prepared.is_file() and not prepared.is_symlink() and prepared.read_text() == stamp
    if not is_prepared:
        _manage(place, "prepare_installation")
    ground.hand_over_fleet_key(place.state / "portal" / "secrets.json", place.state / "host" / "fleet.key")
    supervisor.start([*portal_processes(place), *host_processes(place)])
    _await(supervisor, "the site", lambda: _healthy(place, started), seconds=_HEALTHY_SECONDS)
    if not is_prepared:
        # Last, so that a start that failed half-way has not swallowed the password.
        said = _manage(place, "ensure_administrator", "--json", "--stamp", stamp)
        made = json.loads(said.splitlines()[-1])["administrator"]
        if made:
            print(f"Sign in as  {made['name']}  with the password  {made['password']}")
            print("It is shown only this once: keep it, or change it after signing in.", flush=True)


def _healthy(place: Installation, started: int) -> bool:
    """`started` is Unix time: an earlier run's heartbeat does not count."""
    health = site_health(place.site_socket)
    return worker_is_up(health, place.host_name, since=started) and accepts(place.gateway_socket)


def _await(supervisor: Supervisor, what: str, ready: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        for name, words in supervisor.ended():
            raise ground.NotReady(f"{name} did not start: {words}")
        if time.monotonic() > deadline:
            raise ground.NotReady(
                f"{what} is not healthy after {seconds:.0f} s: see the logs in {supervisor.logs}"
            )
        time.sleep(0.05)


def _manage(place: Installation, *arguments: str) -> str:
    """The output of a management command. Raises NotReady with its last word."""
    finished = manage(place, *arguments, capture=True)
    log = place.state / "log" / "prepare.log"
    with log.open("a") as file:
        file.write(finished.stderr)
    if finished.returncode != 0:
        words = (finished.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ground.NotReady(f"preparing the installation failed: {words[:300]} – see {log}")
    return finished.stdout


def _digest(code: Path) -> str:
    """Of all that a preparation depends on: migrations, static files, what npm installed."""
    digest = hashlib.sha256((code / "package-lock.json").read_bytes())
    for path in sorted([*code.glob("portal/*/migrations/*.py"), *code.glob("static/**/*")]):
        if path.is_file():
            digest.update(str(path.relative_to(code)).encode() + path.read_bytes())
    return digest.hexdigest()


def _stop(_signal: int, _frame: FrameType | None) -> None:
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)  # once is enough; the ending is not to be torn
    raise _Stop


if __name__ == "__main__":
    main()
