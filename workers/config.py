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
from workers.contract.messages import ASK_SECONDS
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
    network_check_seconds: float = 30.0
    """How often all networks are looked at and put right, and the host's cards are looked at."""
    bridge_seconds: float = 10.0
    """How long after a bridge was made around a card the broker has to be reached still."""
    ask_seconds: float = ASK_SECONDS
    """How long a guest has to shut down. Only tests make it shorter: the portal counts down what the contract says."""


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
        network_check_seconds=_seconds("OFFSHOOT_NETWORK_CHECK_SECONDS", environ, 30.0),
        bridge_seconds=_seconds("OFFSHOOT_BRIDGE_SECONDS", environ, 10.0),
        ask_seconds=_seconds("OFFSHOOT_ASK_SECONDS", environ, ASK_SECONDS),
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


def _seconds(variable: str, environ: Mapping[str, str], otherwise: float) -> float:
    """A time of at least a tenth of a second. Raises ConfigError."""
    raw = environ.get(variable, "")
    try:
        seconds = float(raw) if raw else otherwise
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise ConfigError(f"{variable}: {raw!r} must be a number of seconds from 0.1 to 3600")
    return seconds


def host_name(raw: str) -> str:
    """A machine's own name made fit for the contract: lower case, only letters, digits, '-' and '.'."""
    return re.sub(r"[^a-z0-9.-]+", "-", raw.lower()).strip("-.")[:63].strip("-.") or "host"


def _kvm_gid(otherwise: int) -> int:
    """The group that opens /dev/kvm (Debian: "kvm"); the machines' own group on a host without udev."""
    try:
        return grp.getgrnam("kvm").gr_gid
    except KeyError:
        return otherwise
