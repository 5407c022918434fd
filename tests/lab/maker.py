"""A maker's download server of the test's own: with parts, and with every way in which such a server lets one down."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Maker:
    """What lies on the server, and how it behaves. `asked` is the ranges that it was asked for, "" for the whole."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    breaks_after: list[int] = field(default_factory=list)
    """For each answer with a file in turn: break off after so many bytes of it."""

    is_endless: bool = False
    ignores_ranges: bool = False
    trickles: bool = False
    status: int = 0
    named: str = '"one"'
    asked: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    maker: Maker

    def do_GET(self) -> None:
        """Answer as the maker behaves."""
        maker = self.maker
        self.close_connection = True
        path = self.path.rpartition("/")[2]
        if path in maker.redirects:
            self.send_response(302)
            self.send_header("Location", maker.redirects[path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = maker.files.get(path)
        if maker.status or content is None:
            self.send_response(maker.status or 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        is_small = len(content) < 5000
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not is_small:
            maker.asked.append(self.headers.get("Range", ""))
        same = self.headers.get("If-Range", maker.named) == maker.named
        start = int(wanted[1]) if wanted and same and not maker.ignores_ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if not (maker.is_endless and not is_small):
            self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", maker.named)
        self.end_headers()
        self._send(content[start:], is_small=is_small)

    def _send(self, content: bytes, *, is_small: bool) -> None:
        maker = self.maker
        try:
            if is_small:
                self.wfile.write(content)
                return
            while maker.is_endless:
                self.wfile.write(bytes(1024 * 1024))
            if maker.breaks_after:
                content = content[: maker.breaks_after.pop(0)]
            for at in range(0, len(content), 64 * 1024):
                self.wfile.write(content[at : at + 64 * 1024])
                if maker.trickles:
                    time.sleep(0.05)
        except OSError:
            pass  # whoever asked went away

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def maker() -> Iterator[Maker]:
    """A server on a port of its own."""
    state = Maker()
    handler = type("Handler", (_Handler,), {"maker": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        state.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join(10)
