"""What has to be there before a process starts: rights, room, a port, accounts, folders, the fleet's key."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path

from launch.installation import MACHINE_ACCOUNT, PORTAL_ACCOUNT, Installation
from workers.config import host_name

_LEAST_FREE_BYTES = 2 * 1024**3
_LONGEST_STATE = 45
_LOCK = ".launcher"


class NotReady(Exception):
    """Something is missing; the text is one line that says what to do."""


def check(place: Installation) -> None:
    """Root, /dev/net/tun, and a state folder that is ours, has room and can be entered. Raises NotReady."""
    if os.geteuid() != 0:
        raise NotReady("it needs root, since it makes networks and machines: run it as root or with sudo")
    if host_name(place.host_name) != place.host_name:
        raise NotReady(f"OFFSHOOT_HOST_NAME {place.host_name!r} must be of a-z, 0-9, '-' and '.'")
    if len(str(place.state)) > _LONGEST_STATE:
        raise NotReady(f"the path {place.state} is too long for sockets: set OFFSHOOT_STATE to a shorter one")
    if not Path("/dev/net/tun").exists():
        raise NotReady("/dev/net/tun is missing: run `modprobe tun`, or give the container this device")
    for folder in place.state.parents:
        if folder.exists() and not folder.stat().st_mode & 0o001:
            raise NotReady(
                f"{folder} is closed to other accounts, and the site runs as one: set OFFSHOOT_STATE to a "
                "folder that everybody can enter, as /var/lib/offshoot"
            )
    try:
        place.state.mkdir(parents=True, exist_ok=True, mode=0o755)
        foreign = any(place.state.iterdir()) and not (place.state / _LOCK).exists()
        free = shutil.disk_usage(place.state).free
    except OSError as exc:
        raise NotReady(
            f"{place.state} cannot be used ({exc.strerror}): set OFFSHOOT_STATE to another folder"
        ) from exc
    if foreign:  # its rights are about to be changed, which would break /tmp, say
        raise NotReady(f"{place.state} holds something else: set OFFSHOOT_STATE to a new or empty folder")
    if free < _LEAST_FREE_BYTES:
        raise NotReady(
            f"only {free // 1024**2} MiB are free at {place.state}: make room for 2 GiB at least, "
            "or set OFFSHOOT_STATE to another disk"
        )


def hold(place: Installation) -> int:
    """The lock of the state folder, held until the launcher ends. Raises NotReady where another one has it."""
    descriptor = os.open(place.state / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(descriptor)
        raise NotReady(
            f"Offshoot is running already on {place.state}: stop it there, or set OFFSHOOT_STATE"
        ) from exc
    return descriptor


def check_prepared(place: Installation) -> None:
    """Root, and an installation that was started once. Raises NotReady."""
    if os.geteuid() != 0:
        raise NotReady("it needs root, to become the site's account: run it as root or with sudo")
    if not (place.state / "portal" / "prepared").exists():
        raise NotReady(f"there is no installation at {place.state} yet: start it once by `make run`")


def make_accounts() -> None:
    """The unprivileged accounts of the site and of the machines."""
    for name in (PORTAL_ACCOUNT, MACHINE_ACCOUNT):
        try:
            pwd.getpwnam(name)
        except KeyError:
            argv = (
                "useradd",
                "--system",
                "--user-group",
                "--no-create-home",
                "--shell",
                "/usr/sbin/nologin",
                name,
            )
            try:
                subprocess.run(argv, check=True, capture_output=True, timeout=30)
            except (OSError, subprocess.SubprocessError) as exc:
                raise NotReady(
                    f"the account {name!r} is missing and cannot be made: run `{' '.join(argv)}`"
                ) from exc


def make_folders(place: Installation) -> None:
    """The state folder: each part belongs to who writes it, and nobody else gets in."""
    account = pwd.getpwnam(PORTAL_ACCOUNT)
    place.state.chmod(0o755)
    for name, mode, owner in (
        ("redis", 0o700, account.pw_uid),
        ("portal", 0o700, account.pw_uid),
        ("log", 0o700, 0),
        ("host", 0o711, 0),
    ):
        folder = place.state / name
        folder.mkdir(exist_ok=True)
        os.chown(folder, owner, account.pw_gid if owner else 0)
        folder.chmod(mode)


def hand_over_fleet_key(source: Path, target: Path) -> None:
    """Root's own copy, at `target`, of the key that portal and hosts share; from the portal's secrets at `source`."""
    # The folder is the portal's: a link put there must not make root read something else.
    with os.fdopen(os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)) as file:
        key = json.load(file)["fleet_key"]
    if target.exists() and target.read_text() == key:
        return
    draft = target.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key)
    draft.replace(target)


def check_origin(place: Installation) -> None:
    """What people type into the browser can be told. Raises NotReady."""
    origin = place.address
    if not origin.startswith(("http://", "https://")):
        raise NotReady(f"OFFSHOOT_ORIGIN {origin!r} must begin with http:// or https://")
    if any(origin.startswith(f"http://{anywhere}:") for anywhere in ("0.0.0.0", "[::]")):  # noqa: S104  named, not used
        raise NotReady(
            f"{place.listen} is every address of this machine: say what people type into the browser as well, as in "
            f"`OFFSHOOT_ORIGIN=http://{socket.gethostname()}:{place.listen.rpartition(':')[2]}`"
        )


def check_port(listen: str) -> None:
    """The address can be listened on. Raises NotReady with how to choose another."""
    address, _, port = listen.rpartition(":")
    address = address.strip("[]")
    if not address:
        raise NotReady(f"OFFSHOOT_LISTEN {listen!r} names no address: write 127.0.0.1:{port or 8000}, say")
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((address, int(port)))
    except (OSError, ValueError, OverflowError) as exc:
        if isinstance(exc, OSError) and exc.errno == errno.EADDRINUSE:
            raise NotReady(
                f"{listen} is in use by another program: choose another, as in `OFFSHOOT_LISTEN=127.0.0.1:8080 make run`"
            ) from exc
        raise NotReady(
            f"cannot listen on {listen!r}: set OFFSHOOT_LISTEN to an address of this machine and a port"
        ) from exc
