"""What has to be there before a process starts: rights, room, accounts, folders, code that the accounts can read."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import pwd
import shutil
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

from launch.installation import MACHINE_ACCOUNT, PORTAL_ACCOUNT, Installation

_LEAST_FREE_BYTES = 2 * 1024**3
_LONGEST_STATE = 45
_CLONE_NEWNS = 0x00020000  # linux/sched.h
_CODE = (
    "portal",
    "workers",
    "launch",
    "templates",
    "static",
    "node_modules",
    ".venv",
    "manage.py",
    "package-lock.json",
)


class NotReady(Exception):
    """Something is missing; the text is one line that says what to do."""


def check(place: Installation) -> None:
    """Root, a free port, /dev/net/tun, room on the disk, a short path. Raises NotReady."""
    if os.geteuid() != 0:
        raise NotReady("it needs root, since it makes networks and machines: run it as root or with sudo")
    if len(str(place.state)) > _LONGEST_STATE:
        raise NotReady(f"the path {place.state} is too long for sockets: set OFFSHOOT_STATE to a shorter one")
    if not Path("/dev/net/tun").exists():
        raise NotReady("/dev/net/tun is missing: run `modprobe tun`, or give the container this device")
    try:
        place.state.mkdir(parents=True, exist_ok=True, mode=0o755)
        free = shutil.disk_usage(place.state).free
    except OSError as exc:
        raise NotReady(
            f"{place.state} cannot be used ({exc.strerror}): set OFFSHOOT_STATE to another folder"
        ) from exc
    if free < _LEAST_FREE_BYTES:
        raise NotReady(
            f"only {free // 1024**2} MiB are free at {place.state}: make room for 2 GiB at least, "
            "or set OFFSHOOT_STATE to another disk"
        )
    _check_port(place.listen)


def hold(place: Installation) -> int:
    """The lock of the state folder, held until the launcher ends. Raises NotReady where another one has it."""
    descriptor = os.open(place.state / ".launcher", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(descriptor)
        raise NotReady(
            f"Offshoot is running already on {place.state}: stop it there, or set OFFSHOOT_STATE"
        ) from exc
    return descriptor


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


def readable_code(place: Installation) -> Installation:
    """The installation with code that the site's account can read.

    A checkout below /root, say, cannot be reached by anybody else. Then its parts are mounted, read-only, into the state
    folder, in a mount namespace of the launcher and its children alone (mount_namespaces(7)).
    """
    account = pwd.getpwnam(PORTAL_ACCOUNT)
    probe = (
        "test",
        "-r",
        str(place.checkout / "portal" / "settings.py"),
        "-a",
        "-x",
        str(place.checkout / ".venv/bin/python"),
    )
    reads = subprocess.run(probe, check=False, user=account.pw_uid, group=account.pw_gid, extra_groups=[])
    if reads.returncode == 0:
        return place
    code = place.state / "code"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0:
        raise NotReady(
            f"the account {PORTAL_ACCOUNT!r} cannot read {place.checkout}: move the checkout to /opt, say"
        )
    _mount("--make-rslave", "/")
    code.mkdir(exist_ok=True, mode=0o755)
    for name in _CODE:
        source, target = place.checkout / name, code / name
        if source.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.touch()
        _mount("--bind", str(source), str(target))
        _mount("-o", "remount,bind,ro", str(target))
    return replace(place, code=code)


def hand_over_fleet_key(place: Installation) -> None:
    """Root's own copy of the key that portal and hosts share."""
    import json  # noqa: PLC0415  only here

    source = os.open(place.state / "portal" / "secrets.json", os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(source) as file:
        key = json.load(file)["fleet_key"]
    target = place.state / "host" / "fleet.key"
    if target.exists() and target.read_text() == key:
        return
    draft = target.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key)
    draft.replace(target)


def _check_port(listen: str) -> None:
    address, _, port = listen.rpartition(":")
    address = address.strip("[]")
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


def _mount(*arguments: str) -> None:
    finished = subprocess.run(("mount", *arguments), check=False, capture_output=True, text=True, timeout=30)
    if finished.returncode != 0:
        raise NotReady(
            f"the account {PORTAL_ACCOUNT!r} cannot read this checkout, and mounting it failed "
            f"({finished.stderr.strip()}): move the checkout to /opt, say"
        )
