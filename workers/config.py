"""What an installation says to a host's worker, read from OFFSHOOT_* variables."""

from __future__ import annotations

import grp
import os
import pwd
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workers.contract.errors import OffshootError
from workers.plan.names import StateFolder

_LONGEST_STATE_PATH = (
    50  # unix(7): an address has 107 characters, ours needs 57 of them below the state folder
)


class ConfigError(OffshootError):
    """A variable does not fit; the detail says which, and what to do."""


@dataclass(frozen=True)
class HostConfig:
    """One host's settings. `uid` and `gid` are qemu's unprivileged account, `kvm_gid` opens /dev/kvm."""

    name: str
    state: StateFolder
    broker_url: str
    portal_url: str
    fleet_key: str
    gateway: str
    machine_user: str
    uid: int
    gid: int
    kvm_gid: int
    dns_upstream: str
    pools: Mapping[str, Path] = field(default_factory=dict)
    backup_places: Mapping[str, Path] = field(default_factory=dict)


def host_config(environ: Mapping[str, str] = os.environ) -> HostConfig:
    """The settings. Raises ConfigError with what to do."""
    root = Path(environ.get("OFFSHOOT_HOST_STATE", "/var/lib/offshoot/host")).absolute()
    if len(str(root)) > _LONGEST_STATE_PATH:
        raise ConfigError(
            f"OFFSHOOT_HOST_STATE is longer than {_LONGEST_STATE_PATH} characters: choose a shorter one"
        )
    name = environ.get("OFFSHOOT_HOST_NAME") or host_name(socket.gethostname())
    if host_name(name) != name:
        raise ConfigError(f"OFFSHOOT_HOST_NAME {name!r} must be of a-z, 0-9, '-' and '.'")
    user = environ.get("OFFSHOOT_MACHINE_USER", "offshoot-vm")
    try:
        account = pwd.getpwnam(user)
    except KeyError as exc:
        raise ConfigError(
            f"the account {user!r} is missing: useradd --system --no-create-home {user}"
        ) from exc
    key_file = Path(environ.get("OFFSHOOT_FLEET_KEY_FILE", str(root / "fleet.key")))
    try:
        fleet_key = key_file.read_text().strip()
    except OSError as exc:
        raise ConfigError(f"cannot read the fleet's key: {exc}") from exc
    return HostConfig(
        name=name,
        state=StateFolder(root),
        broker_url=environ.get("OFFSHOOT_BROKER_URL", "redis+socket:///var/lib/offshoot/redis/redis.sock"),
        portal_url=environ.get("OFFSHOOT_PORTAL_URL", "http+unix:/var/lib/offshoot/portal/web.sock"),
        fleet_key=fleet_key,
        gateway=environ.get("OFFSHOOT_GATEWAY", f"unix:{root / 'gateway.sock'}"),
        machine_user=user,
        uid=account.pw_uid,
        gid=account.pw_gid,
        kvm_gid=_kvm_gid(account.pw_gid),
        dns_upstream=environ.get("OFFSHOOT_DNS_UPSTREAM", ""),
        pools=_places("OFFSHOOT_POOLS", environ),
        backup_places=_places("OFFSHOOT_BACKUP_PLACES", environ),
    )


def _places(variable: str, environ: Mapping[str, str]) -> dict[str, Path]:
    """Folders by name, as `fast=/mnt/ssd,big=/srv/big`. Raises ConfigError."""
    places: dict[str, Path] = {}
    for entry in filter(None, (part.strip() for part in environ.get(variable, "").split(","))):
        name, _, path = entry.partition("=")
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", name) or not path.startswith("/"):
            raise ConfigError(
                f"{variable}: {entry!r} must be like fast=/mnt/ssd (a-z, 0-9 and '-' in the name)"
            )
        if name in places:
            raise ConfigError(f"{variable}: {name!r} is there twice")
        places[name] = Path(path)
    return places


def host_name(raw: str) -> str:
    """A machine's own name made fit for the contract: lower case, only letters, digits, '-' and '.'."""
    return re.sub(r"[^a-z0-9.-]+", "-", raw.lower()).strip("-.")[:63].strip("-.") or "host"


def _kvm_gid(otherwise: int) -> int:
    """The group that opens /dev/kvm (Debian: "kvm"); the machines' own group on a host without udev."""
    try:
        return grp.getgrnam("kvm").gr_gid
    except KeyError:
        return otherwise
