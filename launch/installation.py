"""One installation: where its state lies, where it listens, and the environment that each of its processes gets."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workers.config import host_name

PORTAL_ACCOUNT = "offshoot"
MACHINE_ACCOUNT = "offshoot-vm"
_PASSED_ON = (
    "OFFSHOOT_DATABASE_URL",
    "OFFSHOOT_DNS_UPSTREAM",
    "OFFSHOOT_ORIGIN",
    "OFFSHOOT_PRIVATE_SUBNET",
    "OFFSHOOT_UPLOAD_LARGEST_GIB",
)


@dataclass(frozen=True)
class Installation:
    """`checkout` is where the project lies, `code` where the unprivileged processes see it."""

    checkout: Path
    code: Path
    state: Path
    listen: str
    host_name: str
    extra: tuple[tuple[str, str], ...]

    @property
    def python(self) -> str:
        """The interpreter of the environment, as the unprivileged processes see it."""
        return str(self.code / ".venv" / "bin" / "python")

    @property
    def redis_socket(self) -> Path:
        """Where Redis listens."""
        return self.state / "redis" / "redis.sock"

    @property
    def gateway_socket(self) -> Path:
        """Where the console gateway listens."""
        return self.state / "host" / "gateway.sock"

    @property
    def address(self) -> str:
        """What a person types into the browser."""
        return dict(self.extra).get("OFFSHOOT_ORIGIN", f"http://{self.listen}")

    def environment(self) -> dict[str, str]:
        """The whole environment of every process; nothing of the caller's leaks in."""
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1" if self.code != self.checkout else "",
            "OFFSHOOT_STATE": str(self.state),
            "OFFSHOOT_LISTEN": self.listen,
            "OFFSHOOT_BROKER_URL": f"redis+socket://{self.redis_socket}",
            "OFFSHOOT_HOST_NAME": self.host_name,
            "OFFSHOOT_HOST_STATE": str(self.state / "host"),
            "OFFSHOOT_FLEET_KEY_FILE": str(self.state / "host" / "fleet.key"),
            "OFFSHOOT_PORTAL_URL": f"http+unix:{self.state / 'portal' / 'web.sock'}",
            "OFFSHOOT_MACHINE_USER": MACHINE_ACCOUNT,
            "OFFSHOOT_GATEWAY": f"unix:{self.gateway_socket}",
            "OFFSHOOT_GATEWAY_GROUP": PORTAL_ACCOUNT,
            **dict(self.extra),
        }


def installation(environ: Mapping[str, str] = os.environ) -> Installation:
    """The installation that the caller's OFFSHOOT_* variables describe; sound without any."""
    checkout = Path(__file__).resolve().parent.parent
    return Installation(
        checkout=checkout,
        code=checkout,
        state=Path(environ.get("OFFSHOOT_STATE", "/var/lib/offshoot")).absolute(),
        listen=environ.get("OFFSHOOT_LISTEN", "127.0.0.1:8000"),
        host_name=environ.get("OFFSHOOT_HOST_NAME") or host_name(socket.gethostname()),
        extra=tuple((name, environ[name]) for name in _PASSED_ON if environ.get(name)),
    )
