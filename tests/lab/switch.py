"""A physical switch with a neighbour on it, to which hosts of the laboratory are wired."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.network import PAGE, SERVER, ip


class Switch:
    """A switch in a namespace of its own, with a neighbour on it that is no machine.

    The neighbour has a page, gives out addresses, and knows its own name.
    """

    NEIGHBOUR = "198.51.100.1"
    NAME = "near.example"
    """The neighbour's own name, and those below it, by its name server."""

    CARD = "card0"

    def __init__(self, folder: Path, leases: dict[str, str], *, routes: bool = False) -> None:
        """`leases` are the addresses that the neighbour's DHCP server gives out, by MAC.

        `routes`: it is a router of IPv6, and says so.
        """
        word = secrets.token_hex(3)
        self._word = word
        self._ports: dict[str, str] = {}
        self._switch, self._neighbour = f"ofs-{word}-switch", f"ofs-{word}-near"
        self._processes: list[subprocess.Popen[bytes]] = []
        for namespace in (self._switch, self._neighbour):
            ip("netns", "add", namespace)
            ip("-n", namespace, "link", "set", "lo", "up")
        ip("-n", self._switch, "link", "add", "switch", "type", "bridge")
        ip("-n", self._switch, "link", "set", "switch", "up")
        self.plug_in(self._neighbour, f"{self.NEIGHBOUR}/24", *(("2001:db8:7::ff/64",) if routes else ()))
        words = ["--dhcp-range=2001:db8:7::,ra-only,64", "--enable-ra"] if routes else []
        if routes:
            subprocess.run((*self.near(), "sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=1"), check=True)
        hosts = [f"--dhcp-host={mac},{address}" for mac, address in leases.items()]
        self._start(
            folder, "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null",
            f"--address=/{self.NAME}/{self.NEIGHBOUR}", f"--local=/{self.NAME}/",
            "--pid-file", "--user=root", "--log-facility=-", "--dhcp-range=198.51.100.0,static,255.255.255.0",
            f"--dhcp-leasefile={folder / 'switch.leases'}", "--no-ping", *hosts, *words,
        )  # fmt: skip
        self._start(folder, sys.executable, "-c", SERVER.format(page=PAGE))

    def plug_in(self, namespace: str, *addresses: str, mac: str = "") -> None:
        """A card for a namespace, with a cable to the switch."""
        port = self._ports[namespace] = f"v{self._word}{len(self._ports) + 1}"
        ip(
            "link", "add", self.CARD, "netns", namespace, "type", "veth", "peer", port, "netns", self._switch
        )  # fmt: skip
        ip("-n", self._switch, "link", "set", port, "master", "switch", "up")
        for address in addresses:
            ip(
                "-n",
                namespace,
                "addr",
                "add",
                address,
                "dev",
                self.CARD,
                *(("nodad",) if ":" in address else ()),
            )
        ip("-n", namespace, "link", "set", self.CARD, *(("address", mac) if mac else ()), "up")

    def near(self) -> tuple[str, ...]:
        """What to put before a command so that it runs at the neighbour."""
        return ("ip", "netns", "exec", self._neighbour)

    def reaches(self, address: str) -> bool:
        """The neighbour reaches this address."""
        argv = (*self.near(), "ping", "-c", "1", "-W", "2", address)
        return subprocess.run(argv, check=False, capture_output=True).returncode == 0

    def near_address(self, what: str, address: str) -> None:
        """`add` the neighbour one more address, as if another one were there, or `del` it, as if that went to sleep."""
        ip("-n", self._neighbour, "addr", what, f"{address}/24", "dev", self.CARD)

    @contextmanager
    def pulled(self, namespace: str) -> Iterator[None]:
        """What the namespace's card sends reaches nobody, and it hears nobody. The card itself notices nothing."""
        port = self._ports[namespace]
        ip("-n", self._switch, "link", "set", port, "nomaster")
        try:
            yield
        finally:
            ip("-n", self._switch, "link", "set", port, "master", "switch")

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
