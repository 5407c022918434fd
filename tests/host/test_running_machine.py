"""While a machine runs: nobody listens who should not, qemu may do nothing that it need not, nobody else reads its files."""

from __future__ import annotations

import json
import os
import pwd
import re
import socket
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.guest.build import guest_disc
from tests.lab import wishes
from tests.lab.broker import PortalsEar
from tests.lab.host import LabHost
from tests.lab.standing import standing_host
from tests.lab.waiting import wait_for
from workers.config import HostConfig, host_config
from workers.contract.messages import OperationState
from workers.contract.spec import DiskKind, DiskSpec, MachineSpec, Power
from workers.host import cgroups
from workers.plan.names import MachineFolder, bridge_name
from workers.watcher import CONSOLE_LOG_BYTES

MIB = 1024 * 1024


@dataclass
class Running:
    """A host on which one machine runs, booted; tests only look at it."""

    host: LabHost
    ear: PortalsEar
    config: HostConfig
    machine: MachineSpec
    qemu: int

    @property
    def folder(self) -> MachineFolder:
        """The machine's folder."""
        return self.host.folder(self.machine.machine_id)

    def argv(self) -> list[str]:
        """qemu's arguments, as the kernel knows them."""
        return Path(f"/proc/{self.qemu}/cmdline").read_text().rstrip("\0").split("\0")


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """A machine with a growing and a fixed disk, a disc and a card."""
    with standing_host() as place:
        host, ear = place.host, place.ear
        config = host_config({"OFFSHOOT_HOST_STATE": str(host.state.root)})
        machine = wishes.spec(
            disc=host.put_disc(uuid4(), guest_disc("address")),
            disks=(
                DiskSpec(id=uuid4(), size_bytes=64 * MIB, kind=DiskKind.GROWING),
                DiskSpec(id=uuid4(), size_bytes=64 * MIB, kind=DiskKind.FIXED, slot=1),
            ),
        )
        wish = wishes.wish(machine)
        ear.ask(host.name, wish)
        assert ear.end_of(wish.operation_id).state is OperationState.DONE, host.words()[-2000:]
        host.heard(machine.machine_id, "ready")
        [qemu] = host.qemus()
        yield Running(host, ear, config, machine, qemu)


def test_only_dnsmasq_listens_and_only_on_the_bridge(running: Running) -> None:
    lines = running.host.network.inside("ss", "-Htulnp").splitlines()
    listening = {(line.split()[0], line.split()[4], re.findall(r'\("([^"]+)",', line)[0]) for line in lines}
    bridge = bridge_name(wishes.PRIVATE.id)
    assert listening == {
        ("udp", f"0.0.0.0%{bridge}:67", "dnsmasq"),
        ("udp", "192.168.57.1:53", "dnsmasq"),
        ("tcp", "192.168.57.1:53", "dnsmasq"),
    }


def test_qemu_holds_no_socket_that_any_network_reaches(running: Running) -> None:
    held = set()
    for link in Path(f"/proc/{running.qemu}/fd").iterdir():
        found = re.fullmatch(r"socket:\[(\d+)\]", str(link.readlink()))
        if found:
            held.add(found[1])
    assert held, "its monitors' and its screen's unix sockets at least"
    reachable = set()
    for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet"):
        lines = Path(f"/proc/{running.qemu}/net/{table}").read_text().splitlines()[1:]
        reachable |= {line.split()[8 if table == "packet" else 9] for line in lines}
    assert reachable, "dnsmasq's are in these tables, so this looks at the right namespace"
    assert held & reachable == set()


def test_every_thread_of_qemu_is_unprivileged_and_stays_so(running: Running) -> None:
    threads = list(Path(f"/proc/{running.qemu}/task").iterdir())
    assert len(threads) > 1
    for thread in threads:
        facts = dict(
            line.split(":", 1) for line in (thread / "status").read_text().splitlines() if ":" in line
        )
        said = {key: value.split() for key, value in facts.items()}
        assert said["Uid"] == [str(running.config.uid)] * 4
        assert said["Gid"] == [str(running.config.gid)] * 4
        assert set(said["Groups"]) <= {str(running.config.kvm_gid)}
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(said[capabilities][0], 16) == 0, capabilities
        # What could still be gained stands in CapBnd, and NoNewPrivs forbids gaining it by an exec.
        assert said["NoNewPrivs"] == ["1"]
        assert said["Seccomp"] == ["2"]
    assert running.config.uid != 0


def test_qemu_is_outside_of_the_workers_session_and_process_group(running: Running) -> None:
    worker = running.host._process
    assert worker is not None
    assert os.getsid(running.qemu) == running.qemu != os.getsid(worker.pid)
    assert os.getpgid(running.qemu) == running.qemu != os.getpgid(worker.pid)


def test_a_machine_has_a_control_group_of_its_own_where_the_host_has_such(running: Running) -> None:
    # `ip netns exec` hides the control groups from the laboratory's worker, so this is done in its place.
    root = cgroups._root()
    if root is None or not os.access(root, os.W_OK):
        assert "0::/offshoot" not in Path(f"/proc/{running.qemu}/cgroup").read_text()
        return
    machine_id = uuid4()
    with subprocess.Popen(("sleep", "60")) as process:
        cgroups.adopt(machine_id, process.pid)
        groups = Path(f"/proc/{process.pid}/cgroup").read_text().splitlines()
        process.kill()
    cgroups.drop(machine_id)
    assert f"0::/offshoot-{machine_id}" in groups
    assert not (root / f"offshoot-{machine_id}").exists()


def test_qemu_holds_no_file_of_another_and_none_of_the_workers(running: Running) -> None:
    """What it inherited is its life's lock and its tap, besides its output; all else it opened itself."""
    allowed = (
        str(running.folder.root),
        str(running.host.state.images),
        "/dev/",
        "/proc/",
        "anon_inode:",
        "socket:",
    )
    links = [str(link.readlink()) for link in Path(f"/proc/{running.qemu}/fd").iterdir()]
    assert [link for link in links if not link.startswith((*allowed, "/memfd:", "pipe:"))] == []
    assert [link for link in links if link == "/dev/net/tun"] == ["/dev/net/tun"]
    assert [link for link in links if link == str(running.folder.life_lock)] == [
        str(running.folder.life_lock)
    ]


def test_its_sockets_and_disks_are_closed_to_everybody_else(running: Running) -> None:
    folder, uid, gid = running.folder, running.config.uid, running.config.gid
    assert _mode(folder.root) == (0, gid, 0o710)
    assert _mode(folder.run) == (uid, gid, 0o700)
    disks = [running.host.disk_file(running.machine.machine_id, disk) for disk in running.machine.disks]
    assert [_mode(disk) for disk in disks] == [(uid, gid, 0o600)] * 2
    sockets = (
        folder.qmp_socket, folder.events_socket, folder.vnc_socket, folder.serial_socket, folder.agent_socket,
    )  # fmt: skip
    for path in sockets:
        assert stat.S_ISSOCK(path.stat().st_mode), path
        assert path.parent == folder.run
    for path in (folder.wish_file, folder.launched_file, folder.handled_file, folder.life_lock):
        assert _mode(path) == (0, 0, 0o600), path
    for path in (running.host.state.root, running.host.state.machines):
        assert _mode(path) == (0, 0, 0o711), path


def test_another_account_reaches_neither_screen_nor_monitor_nor_disk(running: Running) -> None:
    other = pwd.getpwnam("nobody")
    folder = running.folder
    paths = [
        folder.vnc_socket,
        folder.qmp_socket,
        *(running.host.disk_file(running.machine.machine_id, disk) for disk in running.machine.disks),
    ]
    child = os.fork()
    if child == 0:  # as that account, without any privilege
        os.setgroups([])
        os.setgid(other.pw_gid)
        os.setuid(other.pw_uid)
        os._exit(sum(_reaches(path) for path in paths))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sum(_reaches(path) for path in paths[:2]) == 2, "the same look as root finds them"


def test_the_arguments_name_every_format_and_take_nothing_from_outside(running: Running) -> None:
    argv = running.argv()
    assert {"-nodefaults", "-no-user-config"} <= set(argv)
    assert argv[argv.index("-sandbox") + 1] == (
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
    )
    assert "-drive" not in argv
    blockdevs = [json.loads(argv[i + 1]) for i, word in enumerate(argv) if word == "-blockdev"]
    assert sorted(node["driver"] for node in blockdevs) == ["file", "file", "qcow2", "raw", "raw"]
    assert not {"-nic", "-net", "-hda", "-cdrom", "-usbdevice", "-monitor", "-gdb", "-s"} & set(argv)
    [screen] = [argv[i + 1] for i, word in enumerate(argv) if word == "-vnc"]
    assert screen == f"unix:{running.folder.vnc_socket}"
    chardevs = [argv[i + 1] for i, word in enumerate(argv) if word == "-chardev"]
    assert all(f"path={running.folder.run}/" in chardev for chardev in chardevs)


def test_the_screen_speaks_rfb_on_its_socket(running: Running) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(running.folder.vnc_socket))
        assert client.recv(12) == b"RFB 003.008\n"


def test_a_guest_that_floods_its_serial_port_fills_no_disk(running: Running) -> None:
    host, ear = running.host, running.ear
    machine = wishes.spec(
        number=20, name="flood", memory_mib=128, disc=host.put_disc(uuid4(), guest_disc("flood"))
    )
    wish = wishes.wish(machine)
    ear.ask(host.name, wish)
    assert ear.end_of(wish.operation_id).state is OperationState.DONE, host.words()[-2000:]
    log = host.folder(machine.machine_id).console_log
    older = log.with_name("console.log.1")
    largest = 0

    def cut_twice() -> bool:
        nonlocal largest
        sizes = [path.stat().st_size if path.exists() else 0 for path in (log, older)]
        largest = max(largest, *sizes)
        inodes.add(older.stat().st_ino if older.exists() else 0)
        return len(inodes) > 2

    inodes: set[int] = set()
    wait_for("the log was cut at its cap twice", cut_twice, seconds=100)
    assert CONSOLE_LOG_BYTES // 2 < largest <= CONSOLE_LOG_BYTES
    assert {path.name for path in log.parent.glob("console*")} <= {"console.log", "console.log.1"}
    assert b"x" * 300 in older.read_bytes()
    # The host goes on meanwhile, and the machine can be got rid of.
    gone = wishes.wish(wishes.later(machine, power=Power.GONE))
    ear.ask(host.name, gone)
    assert ear.end_of(gone.operation_id).state is OperationState.DONE
    assert host.qemus() == [running.qemu]


def _mode(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


def _reaches(path: Path) -> bool:
    try:
        if path.suffix == ".sock":
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
        else:
            path.open("rb").close()
    except OSError:
        return False
    return True
