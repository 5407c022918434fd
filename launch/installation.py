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
_PORTAL_SETTINGS = (
    "OFFSHOOT_DATABASE_URL",
    "OFFSHOOT_LOCAL_HOOKS",
    "OFFSHOOT_MAIL_FROM",
    "OFFSHOOT_MAIL_URL",
    "OFFSHOOT_MIRROR",
    "OFFSHOOT_ORIGIN",
    "OFFSHOOT_PRIVATE_SUBNET",
    "OFFSHOOT_PUBLISHED_PORTS",
    "OFFSHOOT_UPLOAD_LARGEST_GIB",
)
_HOST_SETTINGS = (
    "OFFSHOOT_DNS_UPSTREAM",
    "OFFSHOOT_POOLS",
    "OFFSHOOT_BACKUP_PLACES",
    "OFFSHOOT_BRIDGE_SECONDS",
    "OFFSHOOT_NETWORK_CHECK_SECONDS",
)
_LOOPBACK = ("127.", "localhost:", "[::1]:")


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

    @property
    def site_socket(self) -> Path:
        """Where the site listens for this host's worker."""
        return self.state / "portal" / "web.sock"

    @property
    def is_local(self) -> bool:
        """The site is reached from this very machine only."""
        return self.listen.startswith(_LOOPBACK)

    def portal_environment(self) -> dict[str, str]:
        """The whole environment of the site's processes; nothing of the caller's leaks in."""
        return self._common() | self._given(_PORTAL_SETTINGS) | {"OFFSHOOT_LISTEN": self.listen}

    def host_environment(self) -> dict[str, str]:
        """The whole environment of the host's processes. They are told nothing of the database."""
        return (
            self._common()
            | self._given(_HOST_SETTINGS)
            | {
                "OFFSHOOT_HOST_NAME": self.host_name,
                "OFFSHOOT_HOST_STATE": str(self.state / "host"),
                "OFFSHOOT_FLEET_KEY_FILE": str(self.state / "host" / "fleet.key"),
                "OFFSHOOT_PORTAL_URL": f"http+unix:{self.site_socket}",
                "OFFSHOOT_MACHINE_USER": MACHINE_ACCOUNT,
                "OFFSHOOT_GATEWAY": f"unix:{self.gateway_socket}",
                "OFFSHOOT_GATEWAY_GROUP": PORTAL_ACCOUNT,
            }
        )

    def _common(self) -> dict[str, str]:
        bare = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "OFFSHOOT_STATE": str(self.state),
            "OFFSHOOT_BROKER_URL": f"redis+socket://{self.redis_socket}",
        }
        return bare if self.code == self.checkout else bare | {"PYTHONDONTWRITEBYTECODE": "1"}

    def _given(self, names: tuple[str, ...]) -> dict[str, str]:
        return {name: value for name, value in self.extra if name in names}


def installation(environ: Mapping[str, str] = os.environ) -> Installation:
    """The installation that the caller's OFFSHOOT_* variables describe; sound without any."""
    checkout = Path(__file__).resolve().parent.parent
    return Installation(
        checkout=checkout,
        code=checkout,
        state=Path(environ.get("OFFSHOOT_STATE", "/var/lib/offshoot")).absolute(),
        listen=environ.get("OFFSHOOT_LISTEN", "127.0.0.1:8000"),
        host_name=environ.get("OFFSHOOT_HOST_NAME") or host_name(socket.gethostname()),
        extra=tuple(
            (name, environ[name]) for name in (*_PORTAL_SETTINGS, *_HOST_SETTINGS) if environ.get(name)
        ),
    )
