"""A host's network namespace with 'the internet' behind it: a web server and a name server in a namespace of their own."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

from tests.lab.waiting import wait_for

OUTSIDE = "203.0.113.2"
HOST_OUTSIDE = "203.0.113.1"
OUTSIDE6 = "2001:db8:1::2"
HOST_OUTSIDE6 = "2001:db8:1::1"
NAME = "mirror.example.org"
NAME_ADDRESS = "203.0.113.77"
PAGE = "a page from the internet"

SERVER = """
import http.server
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = {page!r}.encode() if self.path == "/page.txt" else self.client_address[0].encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Page).serve_forever()
"""

# `ip netns exec` gives a program a /sys of its own, without what is mounted below it.
_CONTROL_GROUPS = """
mount -t tmpfs tmpfs /sys/fs/cgroup && cd /sys/fs/cgroup && mkdir unified cpu && mount -t cgroup2 cgroup2 unified
mount -t cgroup -o cpu cgroup cpu 2>/dev/null || rmdir cpu
cd "$OLDPWD"
"""


class HostNetwork:
    """Two namespaces and the wire between them."""

    def __init__(self, folder: Path, *, internet: bool = True, control_groups: bool = False) -> None:
        """`control_groups`: programs in the host's namespace see the machine's, which are this laboratory's own, too."""
        if os.geteuid() != 0:
            raise RuntimeError("network tests need root: they make namespaces")
        word = secrets.token_hex(3)
        self.host = f"ofs-{word}-host"
        self._internet = f"ofs-{word}-out" if internet else ""
        self.uplink = f"v{word}h" if internet else ""
        self._mounts = _CONTROL_GROUPS if control_groups else ""
        self._processes: list[subprocess.Popen[bytes]] = []
        ip("netns", "add", self.host)
        self.inside("ip", "link", "set", "lo", "up")
        # A new namespace has the settings of the first one (kernel: ip-sysctl.rst), where an installation may be running.
        self.inside("sysctl", "-q", "-w", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")
        if not internet:
            return
        ip("netns", "add", self._internet)
        ip("-n", self._internet, "link", "set", "lo", "up")
        ip(
            "link",
            "add",
            f"v{word}h",
            "netns",
            self.host,
            "type",
            "veth",
            "peer",
            f"v{word}i",
            "netns",
            self._internet,
        )
        self.card = f"v{word}h"
        for namespace, link, address, address6 in (
            (self.host, self.card, HOST_OUTSIDE, HOST_OUTSIDE6),
            (self._internet, f"v{word}i", OUTSIDE, OUTSIDE6),
        ):
            ip("-n", namespace, "addr", "add", f"{address}/24", "dev", link)
            ip("-n", namespace, "addr", "add", f"{address6}/64", "dev", link, "nodad")
            ip("-n", namespace, "link", "set", link, "up")
        ip("-n", self.host, "route", "add", "default", "via", OUTSIDE)
        self._start(folder, sys.executable, "-c", SERVER.format(page=PAGE))
        ip("-n", self._internet, "-6", "addr", "add", "2001:db8:2::1/128", "dev", "lo")
        # A router that does not forward says so to whoever looks whether it is still there, and is then none (RFC 4861, 7.2.5).
        self.run_outside("sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=1")
        self._start(
            folder, "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null",
            "--dhcp-range=2001:db8:1::,ra-only,64", "--enable-ra",  # the host has its default route from this router
            "--pid-file", "--local=/example.org/", f"--address=/{NAME}/{NAME_ADDRESS}", "--user=root", "--log-facility=-",
        )  # fmt: skip
        wait_for("the internet's page", lambda: self._listens(8080) and self._listens(53), seconds=10)

    def inside(self, *argv: str, check: bool = True) -> str:
        """Run a program in the host's namespace; its output."""
        return _output(("ip", "netns", "exec", self.host, *argv), check=check)

    def enter(self) -> tuple[str, ...]:
        """What to put before a command so that it runs in the host's namespace, and sees what was mounted for it there."""
        inside = ("ip", "netns", "exec", self.host)
        return (*inside, "sh", "-e", "-c", f'{self._mounts}exec "$@"', "sh") if self._mounts else inside

    def mount(self, script: str) -> None:
        """Each program that enters from now on has what these commands mount, lines of sh, for itself alone."""
        self._mounts += script

    def run_outside(self, *argv: str, check: bool = True) -> str:
        """Run a program on the internet; its output."""
        return _output((*self.outside(), *argv), check=check)

    def serve_outside(self, folder: Path, *argv: str) -> None:
        """Run one more server in the internet, for as long as that is there."""
        self._start(folder, *argv)

    def outside(self) -> tuple[str, ...]:
        """What to put before a command so that it runs on the internet's side."""
        return ("ip", "netns", "exec", self._internet)

    def links(self) -> set[str]:
        """The interfaces of the host that the product made."""
        lines = self.inside("ip", "-o", "link").splitlines()
        names = {line.split(":")[1].strip().partition("@")[0] for line in lines}
        return {name for name in names if name.startswith(("ob", "ot"))}

    def rules(self) -> str:
        """The firewall's rules in force on the host."""
        return self.inside("nft", "list", "ruleset")

    def default6(self) -> str:
        """The host's own default route of IPv6, which a router has told it."""
        return self.inside("ip", "-6", "route", "show", "default")

    def setting(self, name: str) -> str:
        """A setting of the host's kernel."""
        return self.inside("cat", f"/proc/sys/net/{name}").strip()

    def close(self) -> None:
        """Stop the servers, remove the namespaces."""
        for process in self._processes:
            process.terminate()
            process.wait(10)
        for namespace in (self.host, self._internet):
            if namespace:
                subprocess.run(("ip", "netns", "del", namespace), check=False, capture_output=True)

    def _start(self, folder: Path, *argv: str) -> None:
        with (folder / "internet.log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(("ip", "netns", "exec", self._internet, *argv), stdout=log, stderr=log)
            )

    def _listens(self, port: int) -> bool:
        argv = ("ip", "netns", "exec", self._internet, "ss", "-Htln", f"sport = :{port}")
        return bool(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


def _output(argv: tuple[str, ...], *, check: bool) -> str:
    return subprocess.run(
        argv, check=check, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL
    ).stdout


def ip(*argv: str) -> None:
    subprocess.run(("ip", *argv), check=True, timeout=30)
