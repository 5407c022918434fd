"""The end of every start: the RFB banner (RFC 6143, 7.1.1) on a machine's screen."""

from __future__ import annotations

import socket
import time
from pathlib import Path

_PAUSE_SECONDS = 0.001


def banner_read(screen: Path, *, seconds: float = 30.0) -> float:
    """The moment (time.perf_counter) at which the banner was read. Raises TimeoutError."""
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        with socket.socket(socket.AF_UNIX) as viewer:
            viewer.settimeout(seconds)
            try:
                viewer.connect(str(screen))
                if viewer.recv(12).startswith(b"RFB "):
                    return time.perf_counter()
            except (FileNotFoundError, ConnectionError):
                pass  # no qemu listens yet; a socket of an earlier one refuses
        time.sleep(_PAUSE_SECONDS)
    raise TimeoutError(f"no banner on {screen} within {seconds:g} s")
