"""Asking the parts whether they work."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=2)
        self._path = path

    def connect(self) -> None:
        """Called by request()."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def accepts(path: Path) -> bool:
    """Somebody listens on this unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


def site_health(path: Path) -> dict[str, Any]:
    """What the site says of itself on its unix socket; empty where it does not answer.

    Over TCP it tells less to a caller that is not on 127.0.0.1, which the site need not listen on at all.
    """
    connection = _UnixConnection(path)
    try:
        connection.request("GET", "/health/")
        with connection.getresponse() as response:
            answer = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else {}


def worker_is_up(health: dict[str, Any], host: str, *, since: int) -> bool:
    """All is well, and a worker of this host that was started at `since` (Unix time) or later has reported.

    The start counts: for ten seconds after a worker's end its last report still looks fresh.
    """
    hosts, starts = health.get("hosts", {}), health.get("workers_started", {})
    return bool(health.get("ok") and hosts.get(host) and starts.get(host, 0) >= since)
