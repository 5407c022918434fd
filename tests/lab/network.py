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

_SERVER = """
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
cd "$OLDPWD" && exec "$@"
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
        self._control_groups = control_groups
        self._processes: list[subprocess.Popen[bytes]] = []
        _ip("netns", "add", self.host)
        self.inside("ip", "link", "set", "lo", "up")
        # A new namespace has the settings of the first one (kernel: ip-sysctl.rst), where an installation may be running.
        self.inside("sysctl", "-q", "-w", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")
        if not internet:
            return
        _ip("netns", "add", self._internet)
        _ip("-n", self._internet, "link", "set", "lo", "up")
        _ip(
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
            _ip("-n", namespace, "addr", "add", f"{address}/24", "dev", link)
            _ip("-n", namespace, "addr", "add", f"{address6}/64", "dev", link, "nodad")
            _ip("-n", namespace, "link", "set", link, "up")
        _ip("-n", self.host, "route", "add", "default", "via", OUTSIDE)
        self._start(folder, sys.executable, "-c", _SERVER.format(page=PAGE))
        _ip("-n", self._internet, "-6", "addr", "add", "2001:db8:2::1/128", "dev", "lo")
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
        """What to put before a command so that it runs in the host's namespace."""
        inside = ("ip", "netns", "exec", self.host)
        return (*inside, "sh", "-c", _CONTROL_GROUPS, "sh") if self._control_groups else inside

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


class Switch:
    """A switch in a namespace of its own, with a neighbour on it that is no machine: it has a page, and gives out addresses."""

    NEIGHBOUR = "198.51.100.1"
    CARD = "card0"

    def __init__(self, folder: Path, leases: dict[str, str]) -> None:
        """`leases` are the addresses that the neighbour's DHCP server gives out, by MAC."""
        word = secrets.token_hex(3)
        self._word, self._ports = word, 0
        self._switch, self._neighbour = f"ofs-{word}-switch", f"ofs-{word}-near"
        self._processes: list[subprocess.Popen[bytes]] = []
        for namespace in (self._switch, self._neighbour):
            _ip("netns", "add", namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("-n", self._switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "switch", "up")
        self.plug_in(self._neighbour, f"{self.NEIGHBOUR}/24")
        hosts = [f"--dhcp-host={mac},{address}" for mac, address in leases.items()]
        self._start(
            folder, "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--port=0",
            "--pid-file", "--user=root", "--log-facility=-", "--dhcp-range=198.51.100.0,static,255.255.255.0",
            f"--dhcp-leasefile={folder / 'switch.leases'}", "--no-ping", *hosts,
        )  # fmt: skip
        self._start(folder, sys.executable, "-c", _SERVER.format(page=PAGE))

    def plug_in(self, namespace: str, *addresses: str) -> None:
        """A card for a namespace, with a cable to the switch."""
        self._ports += 1
        port = f"v{self._word}{self._ports}"
        _ip(
            "link", "add", self.CARD, "netns", namespace, "type", "veth", "peer", port, "netns", self._switch
        )  # fmt: skip
        _ip("-n", self._switch, "link", "set", port, "master", "switch", "up")
        for address in addresses:
            _ip(
                "-n",
                namespace,
                "addr",
                "add",
                address,
                "dev",
                self.CARD,
                *(("nodad",) if ":" in address else ()),
            )
        _ip("-n", namespace, "link", "set", self.CARD, "up")

    def near(self) -> tuple[str, ...]:
        """What to put before a command so that it runs at the neighbour."""
        return ("ip", "netns", "exec", self._neighbour)

    def reaches(self, address: str) -> bool:
        """The neighbour reaches this address."""
        argv = (*self.near(), "ping", "-c", "1", "-W", "2", address)
        return subprocess.run(argv, check=False, capture_output=True).returncode == 0

    def close(self) -> None:
        """Stop the servers, remove the namespaces."""
        for process in self._processes:
            process.terminate()
            process.wait(10)
        for namespace in (self._neighbour, self._switch):
            subprocess.run(("ip", "netns", "del", namespace), check=False, capture_output=True)

    def _start(self, folder: Path, *argv: str) -> None:
        with (folder / "switch.log").open("ab") as log:
            self._processes.append(subprocess.Popen((*self.near(), *argv), stdout=log, stderr=log))


def _output(argv: tuple[str, ...], *, check: bool) -> str:
    return subprocess.run(
        argv, check=check, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL
    ).stdout


def _ip(*argv: str) -> None:
    subprocess.run(("ip", *argv), check=True, timeout=30)
