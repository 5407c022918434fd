"""`make run`: bring the whole installation up, say where it is, keep it up, take it down at Ctrl-C. Machines go on."""

from __future__ import annotations

import hashlib
import json
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from launch import ground
from launch.health import accepts, site_health
from launch.installation import PORTAL_ACCOUNT, Installation, installation
from launch.processes import host_processes, portal_processes, redis_process
from launch.supervisor import Supervisor

_HEALTHY_SECONDS = 60.0


class _Stop(Exception):
    """Ctrl-C or SIGTERM."""


def main() -> None:
    """Run until told to stop. Every failure is one line and status 1."""
    begun = time.monotonic()
    place = installation()
    try:
        ground.check(place)
        ground.make_accounts()
        _lock = ground.hold(place)
        ground.make_folders(place)
        place = ground.readable_code(place)
    except ground.NotReady as exc:
        sys.exit(f"offshoot: {exc}")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    supervisor = Supervisor(folder=place.code, logs=place.state / "log", environment=place.environment())
    try:
        new_administrator = _bring_up(place, supervisor)
        print(f"Offshoot runs at {place.address}  (up in {time.monotonic() - begun:.1f} s)")
        if new_administrator:
            print(
                f"Sign in as  {new_administrator['name']}  with the password  {new_administrator['password']}"
            )
            print("It is shown only this once: keep it, or change it after signing in.")
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


def _bring_up(place: Installation, supervisor: Supervisor) -> dict[str, str] | None:
    """All processes, healthy. The new administrator on the first run. Raises NotReady."""
    supervisor.start([redis_process(place)])
    _await(supervisor, "Redis", lambda: accepts(place.redis_socket), seconds=15)
    administrator = _prepare(place)
    ground.hand_over_fleet_key(place)
    supervisor.start([*portal_processes(place), *host_processes(place)])
    _await(supervisor, "the site", lambda: _healthy(place), seconds=_HEALTHY_SECONDS)
    return administrator


def _healthy(place: Installation) -> bool:
    answer = site_health(place.listen)
    return (
        bool(answer.get("ok"))
        and bool(answer.get("hosts", {}).get(place.host_name))
        and accepts(place.gateway_socket)
    )


def _await(supervisor: Supervisor, what: str, ready: object, *, seconds: float) -> None:
    assert callable(ready)  # noqa: S101  said to the type checker
    deadline = time.monotonic() + seconds
    while not ready():
        for name, words in supervisor.ended():
            raise ground.NotReady(f"{name} did not start: {words}")
        if time.monotonic() > deadline:
            raise ground.NotReady(
                f"{what} is not healthy after {seconds:.0f} s: see the logs in {supervisor.logs}"
            )
        time.sleep(0.05)


def _prepare(place: Installation) -> dict[str, str] | None:
    """Database, static files, first administrator; passed over where the code is that of the last start."""
    stamp = place.state / "portal" / "prepared"
    digest = _digest(place.code)
    known = stamp.read_text() if stamp.is_file() and not stamp.is_symlink() else ""
    if known == digest:
        return None
    account = pwd.getpwnam(PORTAL_ACCOUNT)
    finished = subprocess.run(
        (place.python, "manage.py", "prepare_installation", "--stamp", digest),
        cwd=place.code,
        env=place.environment(),
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        check=False,
        capture_output=True,
        text=True,
    )
    (place.state / "log" / "prepare.log").write_text(finished.stderr)
    if finished.returncode != 0:
        words = finished.stderr.strip().splitlines()[-1:] or ["no words"]
        raise ground.NotReady(
            f"preparing the database failed: {words[0][:300]} – see {place.state}/log/prepare.log"
        )
    made: dict[str, str] | None = json.loads(finished.stdout.strip().splitlines()[-1])["administrator"]
    return made


def _digest(code: Path) -> str:
    """Of all that a preparation depends on: migrations, static files, what npm installed."""
    digest = hashlib.sha256((code / "package-lock.json").read_bytes())
    for path in sorted([*code.glob("portal/*/migrations/*.py"), *code.glob("static/**/*")]):
        if path.is_file():
            digest.update(str(path.relative_to(code)).encode() + path.read_bytes())
    return digest.hexdigest()


def _stop(_signal: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # once is enough; the ending is not to be torn
    raise _Stop


if __name__ == "__main__":
    main()
