"""A physical switch with a neighbour on it, to which hosts of the laboratory are wired."""

from __future__ import annotations

import secrets
import subprocess
import sys
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

    def __init__(self, folder: Path, leases: dict[str, str]) -> None:
        """`leases` are the addresses that the neighbour's DHCP server gives out, by MAC."""
        word = secrets.token_hex(3)
        self._word, self._ports = word, 0
        self._switch, self._neighbour = f"ofs-{word}-switch", f"ofs-{word}-near"
        self._processes: list[subprocess.Popen[bytes]] = []
        for namespace in (self._switch, self._neighbour):
            ip("netns", "add", namespace)
            ip("-n", namespace, "link", "set", "lo", "up")
        ip("-n", self._switch, "link", "add", "switch", "type", "bridge")
        ip("-n", self._switch, "link", "set", "switch", "up")
        self.plug_in(self._neighbour, f"{self.NEIGHBOUR}/24")
        hosts = [f"--dhcp-host={mac},{address}" for mac, address in leases.items()]
        self._start(
            folder, "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null",
            f"--address=/{self.NAME}/{self.NEIGHBOUR}", f"--local=/{self.NAME}/",
            "--pid-file", "--user=root", "--log-facility=-", "--dhcp-range=198.51.100.0,static,255.255.255.0",
            f"--dhcp-leasefile={folder / 'switch.leases'}", "--no-ping", *hosts,
        )  # fmt: skip
        self._start(folder, sys.executable, "-c", SERVER.format(page=PAGE))

    def plug_in(self, namespace: str, *addresses: str, mac: str = "") -> None:
        """A card for a namespace, with a cable to the switch."""
        self._ports += 1
        port = f"v{self._word}{self._ports}"
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
