"""The web server: one process that listens on the address for browsers and on a unix socket for this host's worker."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from uvicorn._types import ASGIApplication

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")


def _tcp(listen: str) -> socket.socket:
    address, _, port = listen.rpartition(":")
    address = address.strip("[]")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, int(port)))
    return server


def _unix(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    path.chmod(0o600)
    return server


def main() -> None:
    """Serve until SIGTERM. Exits 1 with one line where the address is taken or not allowed."""
    from django.conf import settings  # noqa: PLC0415

    from portal.asgi import application  # noqa: PLC0415  the settings are read here, after the arguments

    try:
        sockets = [_tcp(settings.LISTEN), _unix(settings.PORTAL_SOCKET)]
    except OSError as exc:
        print(f"offshoot: cannot listen on {settings.LISTEN}: {exc.strerror}", file=sys.stderr)  # noqa: T201
        raise SystemExit(1) from exc
    config = configuration(application, behind_proxy=settings.ORIGIN.startswith("https://"))
    uvicorn.Server(config).run(sockets=sockets)


def configuration(application: ASGIApplication, *, behind_proxy: bool) -> uvicorn.Config:
    """How the server works. Behind a proxy with TLS a person's address is the one that the proxy passes on."""
    return uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        # This implementation stops reading while the consumer has not taken what came, and send() returns when the
        # transport has drained: the console's way is never fuller than the slower side.
        ws="websockets-sansio",
        ws_max_size=16 * 1024 * 1024,
        ws_max_queue=4,  # the browser waits when the console's way to the host is full
        ws_per_message_deflate=False,  # a console's bytes are compressed already
        timeout_graceful_shutdown=3,
        # The count of wrong passwords is by address; a proxy elsewhere is not believed, anybody could claim to be one.
        proxy_headers=behind_proxy,
        forwarded_allow_ips="127.0.0.1,::1",
    )


if __name__ == "__main__":
    main()
