"""The same by hand: plain commands to a shell that is open already in the host's namespace.

A launch by hand is `qemu-system-x86_64 …` as root, with the argument list that the product's worker has used for the
machine that it is compared with, read from that machine's launched.json. Two things differ in it: the folder (its own
disk and sockets), and the tap, which is named instead of passed as an open descriptor, since no shell can open one.
The clock runs from the line that is written to the shell until the banner is read.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from launch.installation import MACHINE_ACCOUNT
from tests.bench.banner import banner_read
from tests.lab.network import HostNetwork
from tests.lab.processes import end_processes_of
from tests.lab.wishes import spec
from workers.contract.spec import MachineSpec, NetworkSpec
from workers.host.processes import launched
from workers.plan.names import MachineFolder, bridge_name
from workers.plan.network import DnsmasqFiles, PluggedNic, WiredNetwork, dnsmasq_configuration
from workers.plan.rulesets.changes import change_of, differing, script, whole
from workers.plan.rulesets.parts import Part
from workers.plan.rulesets.wanted import parts_of, ruleset

BRIDGE, TAP, TABLE = "hand0", "hand1", "byhand"
_NETWORK = NetworkSpec.model_validate({"id": UUID(int=99), "subnet": "192.168.99.0/24"}, strict=False)
_SPEC: MachineSpec = spec()


class ByHand:
    """A shell, and a folder to work in."""

    def __init__(self, folder: Path, shell: subprocess.Popen[str]) -> None:
        self._shell = shell
        self._folder = MachineFolder(folder)
        folder.mkdir()
        self._write_configuration()

    def run(self, *commands: str) -> None:
        """Silent commands one after another. Raises RuntimeError where one fails."""
        self._say(f"{' && '.join(commands)}; echo $?")
        assert self._shell.stdout is not None
        status = self._shell.stdout.readline().strip()
        if status != "0":
            raise RuntimeError(f"by hand: {' && '.join(commands)}: status {status}")

    def arguments(self, machine: MachineFolder) -> list[str]:
        """What the worker ran last for this machine, in this folder and on this tap."""
        return _arguments(machine, self._folder, TAP)

    def arguments_of_many(self, machines: Sequence[MachineFolder]) -> list[list[str]]:
        """The same for many machines, each in a folder of its own and on a tap of its own."""
        return [_arguments(each, self._one_of_many(n), f"many{n}") for n, each in enumerate(machines)]

    def create_many(self, argvs: Sequence[Sequence[str]]) -> float:
        """Seconds for a loop that makes and starts all of them, each with its lease and its rules, until the last banner.

        Bridge and DHCP are there before.
        """
        folders = [self._one_of_many(number) for number in range(len(argvs))]
        root = self._folder.root
        nics = self._write_rules_of_many(len(argvs))
        lines = []
        for number, (argv, folder) in enumerate(zip(argvs, folders, strict=True)):
            commands = (
                f"mkdir -p {folder.run}",
                *self._disk(_disk_of(argv)),
                f"ip tuntap add dev many{number} mode tap",
                f"ip link set many{number} master {BRIDGE} up",
                f"echo {nics[number].mac},{nics[number].address} >> {root}/dnsmasq.hosts",
                f"kill -HUP $(cat {root}/dnsmasq.pid)",
                f"nft -f {root}/rules-{number}.nft",
            )
            lines.append(f"{' && '.join(commands)} && {{ {shlex.join(argv)} >{folder.root}/log 2>&1 & }}")
        self.run(*_BRIDGE, f"dnsmasq --conf-file={root}/dnsmasq.conf")
        begun = time.perf_counter()
        self._say("; ".join(lines))
        for folder in folders:
            banner_read(folder.vnc_socket, seconds=180)
        seconds = time.perf_counter() - begun
        end_processes_of(self._folder.root)
        taps = (f"ip link del many{number}" for number in range(len(folders)))
        tables = (f"nft delete table {family} {TABLE}" for family in ("inet", "bridge"))
        self.run("wait", *taps, *tables, f"ip link del {BRIDGE}")
        for folder in folders:
            shutil.rmtree(folder.root)
        self._write_configuration()
        return seconds

    def _write_rules_of_many(self, count: int) -> list[PluggedNic]:
        """The cards, and for each a file of what it adds to the rules of those before it: the product's own lines."""
        nics = [
            PluggedNic(f"many{number}", f"52:54:00:99:00:{number:02x}", _NETWORK.own_subnet[100 + number])
            for number in range(count)
        ]
        before: dict[str, Part] = {}
        for number in range(count):
            parts = parts_of((WiredNetwork(_NETWORK, tuple(nics[: number + 1])),))
            text = script(change_of(differing(before, parts))) if before else whole(parts)
            (self._folder.root / f"rules-{number}.nft").write_text(_renamed(text))
            before = parts
        return nics

    def _one_of_many(self, number: int) -> MachineFolder:
        return MachineFolder(self._folder.root / str(number))

    def start(self, argv: Sequence[str]) -> float:
        """Seconds for the start of a machine that exists: disk, bridge and tap are there before the clock starts."""
        disk = _disk_of(argv)
        self.run(*self._folders(), *self._disk(disk), *_BRIDGE, *self._tap())
        begun = time.perf_counter()
        self._say(self._launch(argv))
        seconds = banner_read(self._folder.vnc_socket) - begun
        self.end()
        self.run(f"ip link del {TAP}", f"ip link del {BRIDGE}", f"rm {disk}")
        return seconds

    def create(self, argv: Sequence[str], *, base: Path | None = None) -> float:
        """Seconds for all of it: folders, disk (above `base` where there is one), bridge, DHCP, forwarding, rules, tap, qemu."""
        disk, root = _disk_of(argv), self._folder.root
        commands = [
            *self._folders(),
            *self._disk(disk, base),
            *_BRIDGE,
            f"dnsmasq --conf-file={root}/dnsmasq.conf",
            "echo 1 > /proc/sys/net/ipv4/ip_forward",
            f"nft -f {root}/rules.nft",
            *self._tap(),
        ]
        begun = time.perf_counter()
        self._say(f"if {' && '.join(commands)}; then {self._launch(argv)} fi")
        seconds = banner_read(self._folder.vnc_socket) - begun
        self.end()
        self.run(
            f"nft delete table inet {TABLE}",
            f"nft delete table bridge {TABLE}",
            f"ip link del {TAP}",
            f"ip link del {BRIDGE}",
            "echo 0 > /proc/sys/net/ipv4/ip_forward",
            f"rm {disk}",
        )
        return seconds

    def end(self) -> None:
        """qemu and dnsmasq end."""
        self.run("kill $!", "wait")
        end_processes_of(self._folder.root)

    def _launch(self, argv: Sequence[str]) -> str:
        log = shlex.quote(str(self._folder.qemu_log))
        return f"{shlex.join(argv)} >{log} 2>&1 &"

    def _folders(self) -> tuple[str, ...]:
        run = self._folder.run
        return (f"rm -rf {run}", f"mkdir {run}")

    def _disk(self, disk: Path, base: Path | None = None) -> tuple[str, ...]:
        size = f"-F qcow2 -b {base}" if base else ""
        return (f"qemu-img create -q -f qcow2 -o lazy_refcounts=on {size} {disk} {'' if base else '8G'}",)

    def _tap(self) -> tuple[str, ...]:
        return (f"ip tuntap add dev {TAP} mode tap", f"ip link set {TAP} master {BRIDGE} up")

    def _write_configuration(self) -> None:
        """dnsmasq's and nft's files, of the product's own making, on the bridge and the tap of this folder."""
        root, [nic] = self._folder.root, _SPEC.nics
        address = _NETWORK.own_subnet[10]
        files = DnsmasqFiles(
            root / "dnsmasq.hosts", root / "dnsmasq.names", root / "dnsmasq.leases", root / "dnsmasq.pid"
        )
        files.names.touch()
        files.hosts.write_text(f"{nic.mac},{address}\n")
        group = MACHINE_ACCOUNT
        text = dnsmasq_configuration(_NETWORK, files, user=MACHINE_ACCOUNT, group=group, upstream="")
        (root / "dnsmasq.conf").write_text(text.replace(bridge_name(_NETWORK.id), BRIDGE))
        rules = ruleset((WiredNetwork(_NETWORK, (PluggedNic(TAP, nic.mac, address),)),))
        (root / "rules.nft").write_text(_renamed(rules))

    def _say(self, line: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(line + "\n")
        self._shell.stdin.flush()


def _renamed(rules: str) -> str:
    """The product's rules for the bridge and the tables of this folder."""
    rules = rules.replace(bridge_name(_NETWORK.id), BRIDGE)
    return rules.replace("inet offshoot", f"inet {TABLE}").replace("bridge offshoot", f"bridge {TABLE}")


_BRIDGE = (
    f"ip link add {BRIDGE} type bridge stp_state 0",
    f"ip addr add {_NETWORK.gateway}/{_NETWORK.own_subnet.prefixlen} dev {BRIDGE}",
    f"ip link set {BRIDGE} up",
)


def _arguments(machine: MachineFolder, folder: MachineFolder, tap: str) -> list[str]:
    """What the worker ran last for this machine, in another folder and on another tap."""
    argv = [
        str(argument).replace(str(machine.root), str(folder.root)) for argument in launched(machine)["argv"]
    ]
    position = argv.index("-netdev") + 1
    card = json.loads(argv[position])
    del card["fd"]
    argv[position] = json.dumps(card | {"ifname": tap, "script": "no", "downscript": "no"})
    return argv


def _disk_of(argv: Sequence[str]) -> Path:
    """The file of the only disk."""
    nodes = [json.loads(argv[place + 1]) for place, word in enumerate(argv) if word == "-blockdev"]
    return next(Path(node["filename"]) for node in nodes if node["driver"] == "file")


@contextmanager
def shell_in(folder: Path, network: HostNetwork) -> Iterator[ByHand]:
    """An open shell in the host's namespace; what was started from it ends with it."""
    shell = subprocess.Popen(
        ("nsenter", f"--net=/run/netns/{network.host}", "sh"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd="/",
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
    )
    try:
        yield ByHand(folder, shell)
    finally:
        shell.send_signal(signal.SIGKILL)
        shell.communicate()
        end_processes_of(folder)
