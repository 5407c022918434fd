"""Code that the site's unprivileged account can read, wherever the checkout lies."""

from __future__ import annotations

import ctypes
import pwd
import subprocess
from dataclasses import replace
from pathlib import Path

from launch.ground import NotReady
from launch.installation import PORTAL_ACCOUNT, Installation

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


def readable_code(place: Installation) -> Installation:
    """The installation with code that the site's account can read. Raises NotReady.

    A checkout below /root, say, cannot be reached by anybody else. Then its parts are mounted, read-only, into the state
    folder, in a mount namespace of the launcher and its children alone (mount_namespaces(7)).
    """
    if _reads(place.checkout):
        return place
    code = place.state / "code"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0:
        raise NotReady(
            f"the account {PORTAL_ACCOUNT!r} cannot read {place.checkout}: move the checkout to /opt, say"
        )
    # Slave: what the host mounts later is seen here, what is mounted here is seen nowhere else.
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
    if not _reads(code):
        raise NotReady(
            f"only root can read the files in {place.checkout}: run `chmod -R go+rX {place.checkout}`, then try again"
        )
    return replace(place, code=code)


def _reads(code: Path) -> bool:
    """The site's account gets as far as importing the settings' neighbours, its libraries and the static files."""
    account = pwd.getpwnam(PORTAL_ACCOUNT)
    needed = ("portal/settings.py", "static", "node_modules", ".venv/pyvenv.cfg")
    script = (
        'cd "$1" && shift && test -x .venv/bin/python && for each in "$@"; do test -r "$each" || exit 1; done'
    )
    return (
        subprocess.run(
            ("sh", "-c", script, "sh", str(code), *needed),
            check=False,
            capture_output=True,
            cwd="/",
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
        ).returncode
        == 0
    )


def _mount(*arguments: str) -> None:
    finished = subprocess.run(("mount", *arguments), check=False, capture_output=True, text=True, timeout=30)
    if finished.returncode != 0:
        raise NotReady(
            f"the account {PORTAL_ACCOUNT!r} cannot read this checkout, and mounting it failed "
            f"({finished.stderr.strip()}): move the checkout to /opt, say"
        )
