"""Asking the parts whether they work."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any


def accepts(path: Path) -> bool:
    """Somebody listens on this unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


def site_health(listen: str) -> dict[str, Any]:
    """What the site says of itself; empty where it does not answer."""
    address, _, port = listen.rpartition(":")
    address = address.strip("[]")
    near = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(address, address)  # noqa: S104  a comparison
    connection = http.client.HTTPConnection(near, int(port), timeout=2)
    try:
        connection.request("GET", "/health/", headers={"Host": "127.0.0.1"})
        answer = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else {}
