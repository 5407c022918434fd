"""What can really be in a host's way: a program that fails, somebody else's address, port or interface, a library that lies."""

from __future__ import annotations

import re
import shutil
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.lab.host import LabHost
from tests.lab.network import HostNetwork


def _lay_over(host: LabHost, file: Path, real: str) -> tuple[str, ...]:
    """Put `file` in the place of `real` for the host's worker alone; what to put before a command to run it there.

    The worker runs with a PATH of its own choosing, so a program cannot be put before another one. This is done in
    the mount namespace that `ip netns exec` has made for the worker.
    """
    worker = host._process
    assert worker is not None
    mounts = Path(f"/proc/{worker.pid}/ns/mnt")
    assert mounts.readlink() != Path("/proc/self/ns/mnt").readlink(), "the worker is not in its namespace yet"
    enter = ("nsenter", "--target", str(worker.pid), "--mount")
    subprocess.run((*enter, "mount", "--bind", str(file), real), check=True, timeout=10)
    return enter


@contextmanager
def broken_program(host: LabHost, name: str, *, words: str, status: int = 1) -> Iterator[None]:
    """For the host's worker alone, the program `name` says `words` and ends with `status`."""
    found = shutil.which(name)
    assert found is not None, name
    real = str(Path(found).resolve())
    script = host.state.root.parent / f"broken-{name}"
    script.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{words}' >&2\nexit {status}\n")
    script.chmod(0o755)
    enter = _lay_over(host, script, real)
    try:
        yield
    finally:
        subprocess.run((*enter, "umount", "--lazy", real), check=True, timeout=10)


@contextmanager
def missing_files(host: LabHost, real: str) -> Iterator[None]:
    """For the host's worker alone, the folder `real` is empty."""
    empty = host.state.root.parent / "empty"
    empty.mkdir(exist_ok=True)
    enter = _lay_over(host, empty, real)
    try:
        yield
    finally:
        subprocess.run((*enter, "umount", "--lazy", real), check=True, timeout=10)


def set_free_memory(host: LabHost, mib: int) -> None:
    """From now on the host's worker finds so much memory free, until it is started anew.

    Two hosts of a laboratory are one machine, which has as much for either: another file is laid over the kernel's.
    """
    worker = host._process
    assert worker is not None
    meminfo = Path("/proc/meminfo").read_text()
    said = re.sub(r"^(MemAvailable:\s+)\d+", rf"\g<1>{mib * 1024}", meminfo, flags=re.MULTILINE)
    # A new file each time: a worker that reads while one is written would find no memory at all.
    file = host.state.root.parent / f"meminfo-{host.name}-{time.monotonic_ns()}"
    file.write_text(said)
    _lay_over(host, file, "/proc/meminfo")


@contextmanager
def foreign_address(network: HostNetwork, address: str) -> Iterator[None]:
    """Another interface of the host has this address."""
    network.inside("ip", "link", "add", "foreign", "type", "bridge")
    try:
        network.inside("ip", "addr", "add", address, "dev", "foreign")
        yield
    finally:
        network.inside("ip", "link", "del", "foreign")


@contextmanager
def foreign_link(network: HostNetwork, name: str) -> Iterator[None]:
    """Somebody else's interface has this name."""
    network.inside("ip", "link", "add", name, "type", "bridge")
    try:
        yield
    finally:
        network.inside("ip", "link", "del", name)


@contextmanager
def foreign_server(network: HostNetwork, port: int) -> Iterator[None]:
    """Another program of the host has this UDP and TCP port on all addresses, as a name server would."""
    code = (
        "import socket, sys\n"
        f"tcp = socket.create_server(('0.0.0.0', {port}))\n"
        "udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        f"udp.bind(('0.0.0.0', {port}))\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        (*network.enter(), sys.executable, "-c", code), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    body = b""


class _Disc(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        body = self.server.body
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def library_that_sends(path: Path, body: bytes) -> Iterator[None]:
    """On the socket where the portal would be somebody answers every request with these bytes."""
    path.unlink(missing_ok=True)
    with _Server(str(path), _Disc) as server:
        server.body = body
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join(10)
            path.unlink(missing_ok=True)
