"""What looking at machines costs: a hundred real qemus that stand still, sampled by the product's own sampler.

There is nothing to compare with by hand; the row says which part of one processor each machine costs its host, the asked
qemus' own share included.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from uuid import UUID, uuid4

from qemu.qmp import QMPClient

from tests.bench.table import Row, share_under
from tests.lab import wishes
from tests.lab.waiting import wait_for
from workers.config import host_config
from workers.contract.figures import SAMPLE_SECONDS, Samples
from workers.contract.host import KvmAnswer, KvmProbe
from workers.host.locks import try_lock
from workers.host.monitor import MonitorLoop
from workers.plan.names import MachineFolder
from workers.sampling import Sampler
from workers.this_host import Host

MACHINES = 100
_MOST_PERCENT = 0.2
_WARM_UP = 2
_NULL_DISK = {"driver": "null-co", "node-name": "disk0-file", "size": 1 << 30}


def measure(folder: Path, *, rounds: int) -> list[Row]:
    """The row of the table."""
    with _machines(folder, MACHINES) as (host, clients, qemus):
        sampler = Sampler(host, lambda: clients, lambda _: None)
        for _ in range(_WARM_UP):
            taken = sampler.sample(0)
        shares = []
        for _ in range(rounds):
            time.sleep(0.2)
            before = _cpu_seconds(qemus)
            taken = sampler.sample(0)
            shares.append((_cpu_seconds(qemus) - before) / SAMPLE_SECONDS / MACHINES * 100)
        _check(taken)
    return [share_under(f"sampling {MACHINES} machines, a machine", shares, most_percent=_MOST_PERCENT)]


def _check(taken: Samples) -> None:
    """What was measured is the whole work."""
    assert len(taken.machines) == MACHINES
    for machine in taken.machines:
        assert None not in (
            machine.cpu_percent,
            machine.disk_reads,
            machine.net_in_bytes,
            machine.memory_bytes,
        )


def _cpu_seconds(qemus: list[int]) -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    ticks = 0
    for pid in qemus:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return own.ru_utime + own.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def _machines(folder: Path, number: int) -> Iterator[tuple[Host, dict[UUID, QMPClient], list[int]]]:
    """So many qemus below a state folder, each with its lock and number as the product starts them, all listened to."""
    folder.mkdir(mode=0o755)
    (folder / "fleet.key").write_text("a key for the bench only")
    config = host_config({"OFFSHOOT_HOST_STATE": str(folder), "OFFSHOOT_HOST_NAME": "bench"})
    monitors = MonitorLoop()
    host = Host(
        config=config,
        monitors=monitors,
        kvm=lambda: KvmProbe(answer=KvmAnswer.NO_MODULE, detail=""),
        report_progress=lambda _: None,
        report_observed=lambda _: None,
        direct_io=False,
    )
    processes: list[subprocess.Popen[bytes]] = []
    clients: dict[UUID, QMPClient] = {}
    try:
        for each in range(number):
            machine_id = uuid4()
            processes.append(_start(host.folder(machine_id), machine_id, each))
            clients[machine_id] = QMPClient(str(machine_id))
        for machine_id, client in clients.items():
            socket = host.folder(machine_id).events_socket
            wait_for("qemu listens", socket.exists, seconds=60)
            monitors.call(client.connect(str(socket)))
        yield host, clients, [process.pid for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait(10)
        for client in clients.values():
            monitors.call(_gone(client))
        monitors.close()


async def _gone(client: QMPClient) -> None:
    try:
        await client.disconnect()
    except Exception:  # noqa: S110  its qemu was ended
        pass


def _start(folder: MachineFolder, machine_id: UUID, number: int) -> subprocess.Popen[bytes]:
    folder.run.mkdir(parents=True)
    spec = wishes.spec(machine_id=machine_id, memory_mib=64)
    nic = spec.nics[0].model_copy(
        update={"mac": f"52:54:00:00:00:{number:02x}", "address": IPv4Address("192.168.57.9")}
    )
    record = {"run": 1, "spec": spec.model_copy(update={"nics": (nic,)}).to_wire(), "ports": True}
    folder.launched_file.write_text(json.dumps(record))
    lock = try_lock(folder.life_lock)
    assert lock is not None
    argv = (
        "qemu-system-x86_64", "-S", "-nodefaults", "-display", "none", "-m", "64", "-machine", "q35,accel=tcg",
        "-uuid", str(machine_id), "-pidfile", str(folder.pid_file),
        "-device", "virtio-balloon-pci,id=balloon",
        "-blockdev", json.dumps(_NULL_DISK), "-device", "virtio-blk-pci,drive=disk0-file,id=disk0",
        "-qmp", f"unix:{folder.events_socket},server=on,wait=off",
    )  # fmt: skip
    try:
        return subprocess.Popen(argv, pass_fds=[lock], stderr=subprocess.DEVNULL)
    finally:
        os.close(lock)
