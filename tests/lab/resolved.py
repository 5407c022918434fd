"""systemd-resolved, and where wanted systemd-networkd, on a host of the laboratory: Debian's own, with a D-Bus of their own."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.guest.packages import unpacked
from tests.lab.network import HostNetwork
from tests.lab.waiting import wait_for

_NETWORKD = "/lib/systemd/systemd-networkd"
_BUS = """<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
<allow send_requested_reply="true"/><allow receive_type="method_call"/><allow receive_type="method_return"/>
<allow receive_type="error"/><allow receive_type="signal"/></policy></busconfig>
"""


class Resolved:
    """Programs that enter the host's namespace from now on ask this systemd-resolved for names, and reach it by D-Bus."""

    def __init__(self, network: HostNetwork, folder: Path, *, networkd: str = "") -> None:
        """`networkd`: the text of a `.network` file by which systemd-networkd keeps the host's cards."""
        # Installed it would take over the machine's own names; its library is of one version with it.
        self._tree = unpacked("systemd-resolved", "libsystemd-shared")
        self._network = network
        self._log = folder / "resolved.log"
        self._processes: list[subprocess.Popen[bytes]] = []
        place = folder / "run"
        for each in ("dbus", "systemd/network", "lock"):
            (place / each).mkdir(parents=True)
        (place / "systemd" / "network" / "card.network").write_text(networkd)
        (folder / "bus.conf").write_text(_BUS)
        (folder / "resolv.conf").write_text("nameserver 127.0.0.53\n")
        account = "systemd-resolve:x:64991:64991::/:/usr/sbin/nologin\n"
        (folder / "passwd").write_text(_others("/etc/passwd") + account)
        (folder / "group").write_text(_others("/etc/group") + "systemd-resolve:x:64991:\n")
        network.mount(
            f"[ -L /etc/resolv.conf ] || mount --bind {folder}/resolv.conf /etc/resolv.conf\n"
            f"mount --bind {folder}/passwd /etc/passwd\nmount --bind {folder}/group /etc/group\n"
            f"mount --bind {place} /run\n"
        )
        self._start("dbus-daemon", f"--config-file={folder / 'bus.conf'}", "--nofork")
        wait_for("the bus is there", (place / "dbus" / "system_bus_socket").exists)
        if networkd:
            self.start_networkd()
        self._resolver = self._start_resolver()

    def of(self, link: str) -> dict[str, Any]:
        """What it has for an interface: its name servers and domains."""
        index = self._network.inside("cat", f"/sys/class/net/{link}/ifindex").strip()
        # A path of D-Bus has no digit first (sd_bus_path_encode(3)).
        path = f"/org/freedesktop/resolve1/link/_{ord(index[0]):x}{index[1:]}"
        return {
            "servers": [
                ".".join(map(str, each[1])) for each in self._property(path, "DNSEx") if each[0] == 2
            ],
            "domains": [name for name, _ in self._property(path, "Domains")],
        }

    def tell(self, *words: str) -> None:
        """`resolvectl` with these words."""
        self._run("env", f"LD_LIBRARY_PATH={self._libraries}", f"{self._tree}/usr/bin/resolvectl", *words)

    def knows(self, name: str) -> bool:
        """A program of the host gets an address for the name."""
        argv = (*self._network.enter(), "getent", "ahostsv4", name)
        return subprocess.run(argv, check=False, capture_output=True, timeout=30).returncode == 0

    def stop_resolver(self) -> None:
        """systemd-resolved is stopped, as by its administrator."""
        self._resolver.terminate()
        self._resolver.wait(10)

    def start_resolver(self) -> None:
        """It is there again."""
        self._resolver = self._start_resolver()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """systemd-resolved is there and answers nothing meanwhile."""
        self._resolver.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._resolver.send_signal(signal.SIGCONT)

    def start_networkd(self) -> None:
        """systemd-networkd keeps the cards. Where /sys cannot be written it waits for no udev."""
        self._start("sh", "-e", "-c", f"mount -o remount,ro,bind /sys; exec {_NETWORKD}")

    def words(self) -> str:
        """What they have written."""
        return self._log.read_text(errors="replace")

    def close(self) -> None:
        """They are gone."""
        for process in reversed(self._processes):
            process.terminate()
            process.wait(10)

    @property
    def _libraries(self) -> Path:
        return next(self._tree.glob("usr/lib/*/systemd"))

    def _start_resolver(self) -> subprocess.Popen[bytes]:
        started = self._start(
            "env", f"LD_LIBRARY_PATH={self._libraries}", str(self._tree / "lib/systemd/systemd-resolved")
        )
        wait_for("systemd-resolved answers", self._answers)
        return started

    def _answers(self) -> bool:
        try:
            self._property("/org/freedesktop/resolve1", "LLMNR", of="Manager")
        except subprocess.CalledProcessError:
            return False
        return True

    def _property(self, path: str, name: str, *, of: str = "Link") -> Any:
        said = self._run(
            "busctl", "--auto-start=no", "--json=short", "get-property", "org.freedesktop.resolve1", path,
            f"org.freedesktop.resolve1.{of}", name,
        )  # fmt: skip
        return json.loads(said)["data"]

    def _run(self, *argv: str) -> str:
        return subprocess.run(
            (*self._network.enter(), *argv), check=True, capture_output=True, text=True, timeout=30
        ).stdout

    def _start(self, *argv: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            process = subprocess.Popen((*self._network.enter(), *argv), stdout=log, stderr=log)
        self._processes.append(process)
        return process


def _others(file: str) -> str:
    lines = Path(file).read_text().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("systemd-resolve:"))
