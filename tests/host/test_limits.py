"""What a machine may take of its host, measured with a guest that takes all it gets; changed while it runs, gone afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.guest.build import guest_disc
from tests.lab import wishes
from tests.lab.folder import short_folder
from tests.lab.network import OUTSIDE
from tests.lab.standing import Standing, standing_host
from tests.lab.waiting import wait_for
from workers.contract.acts import TakeBackup, TakeSnapshot
from workers.contract.disks import MIB, DiskKind, DiskSpec
from workers.contract.errors import ErrorCode
from workers.contract.host import BANDWIDTH_IN_FEATURE, BANDWIDTH_OUT_FEATURE
from workers.contract.messages import ApplyMachine, OperationState, Step
from workers.contract.spec import GIB, DiskBus, MachineSpec, NicSpec, Power
from workers.host import cgroups
from workers.host.shaping import missing_for_limits

TAP, SECOND_TAP = "ot00000a", "ot000014"
WINDOW_SECONDS = 2.0
_SERVERS = """
import socket, threading
def serve(port, work):
    listener = socket.create_server(("0.0.0.0", port))
    while True:
        threading.Thread(target=quietly, args=(work, listener.accept()[0]), daemon=True).start()
def quietly(work, connection):
    try:
        work(connection)
    except OSError:
        pass
def give(connection):
    while True:
        connection.sendall(bytes(65536))
def take(connection):
    while connection.recv(65536):
        pass
threading.Thread(target=serve, args=(9001, give), daemon=True).start()
serve(9002, take)
"""


@pytest.fixture(scope="module")
def place() -> Iterator[Standing]:
    """One host for the whole file, with servers outside that give and take without an end, and a folder for backups."""
    left: list[str] = []
    with (
        short_folder() as folder,
        standing_host(internet=True, control_groups=True, OFFSHOOT_BACKUP_PLACES=f"main={folder}") as place,
    ):
        place.host.network.serve_outside(place.folder, sys.executable, "-c", _SERVERS)
        yield place
        left += [path.name for path in place.host.state.machines.glob("*/")]
    for name in left:  # of a test that failed; no worker is there any more to see to it
        cgroups.drop(UUID(name))


def test_a_guest_takes_no_more_than_it_may_and_what_it_may_is_changed_while_it_runs(  # noqa: PLR0915  one guest's life
    place: Standing,
) -> None:
    host = place.host
    disc = host.put_disc(uuid4(), guest_disc("greedy", outside=OUTSIDE))
    machine = wishes.spec(disc=disc, cpu_weight=300)
    machine = _limited(machine, mbit_in=6, mbit_out=4, mib_per_second=2)
    assert _steps(place, machine)[-2:] == [Step.LAUNCH, Step.CHANGE_LIMITS]
    host.heard(machine.machine_id, "ready", seconds=90)
    assert _weighs(machine, 300)
    assert host.network.links() > {TAP, f"{TAP}-out"}
    _flows(place)
    _takes(place, machine, mbit_in=6, mbit_out=4, mib=2)

    # Other numbers, at once; the worker is killed in between and goes on with the rest.
    machine = wishes.later(_limited(machine, mbit_in=3, mbit_out=6, iops=40), cpu_weight=50)
    host.kill()
    host.set(OFFSHOOT_DIE_AT="processors weighed")
    host.start()
    asked = wishes.wish(machine)
    place.ear.ask(host.name, asked)
    host.wait_for_death()
    host.set(OFFSHOOT_DIE_AT="")
    host.start()
    end = place.ear.end_of(asked.operation_id, seconds=90)
    assert end.state is OperationState.DONE, (end, host.words()[-3000:])
    assert [step.step for step in end.steps] == [Step.CHANGE_LIMITS]
    machine = wishes.later(machine)
    assert _steps(place, machine) == []
    assert _weighs(machine, 50)
    _takes(place, machine, mbit_in=3, mbit_out=6, operations=40)

    # A throttled disk is kept and backed up like any other.
    machine = place.done(wishes.later(machine), TakeSnapshot(snapshot_id=uuid4(), memory=True), seconds=90)
    machine = place.done(wishes.later(machine), TakeBackup(place="main", backup_id=uuid4()), seconds=90)
    assert _throttled(place, machine) == {"disk0": (0, 40)}

    # What is plugged in is limited from the start, and gives up its limits with itself.
    disk = DiskSpec(id=uuid4(), size_bytes=GIB, kind=DiskKind.GROWING, slot=1, iops=7, mib_per_second=9)
    card = NicSpec(
        network=wishes.PRIVATE, mac="52:54:00:00:00:14", address=IPv4Address("192.168.57.20"), slot=1, mbit_out=5
    )  # fmt: skip
    plugged = wishes.later(machine, disks=(*machine.disks, disk), nics=(*machine.nics, card))
    assert _steps(place, plugged) == [Step.MAKE_DISKS, Step.CHANGE_DEVICES]
    assert _throttled(place, plugged) == {"disk0": (0, 40), "disk1": (9 * MIB, 7)}
    assert _buckets(place, f"{SECOND_TAP}-out") == [625_000]

    # It sleeps and wakes: its limits are again what they were.
    plugged = place.done(wishes.later(plugged, power=Power.SAVED), seconds=90)
    assert host.network.links() == set()
    assert _weight(machine) is None
    plugged = wishes.later(plugged, power=Power.RUNNING)
    assert _steps(place, plugged)[-2:] == [Step.WAKE, Step.CHANGE_LIMITS]
    assert _throttled(place, plugged) == {"disk0": (0, 40), "disk1": (9 * MIB, 7)}
    assert (_buckets(place, TAP), _buckets(place, f"{TAP}-out")) == ([375_000], [750_000])
    assert _buckets(place, f"{SECOND_TAP}-out") == [625_000]
    assert _weighs(machine, 50)
    machine = wishes.later(plugged, disks=plugged.disks[:1], nics=plugged.nics[:1])
    assert _steps(place, machine) == [Step.CHANGE_DEVICES]
    assert f"{SECOND_TAP}-out" not in host.network.links()

    # Without limits nothing of them is left; how fast it is then is the laboratory's.
    machine = wishes.later(_limited(machine), cpu_weight=100)
    assert _steps(place, machine) == [Step.CHANGE_LIMITS]
    assert _weighs(machine, 100)
    assert (_buckets(place, TAP), _throttled(place, machine)) == ([], {"disk0": (0, 0)})
    assert f"{TAP}-out" not in host.network.links()
    assert "ingress" not in host.network.inside("tc", "qdisc", "show", "dev", TAP)

    machine = wishes.later(_limited(machine, mbit_out=3), cpu_weight=1)
    assert _steps(place, machine) == [Step.CHANGE_LIMITS]
    place.delete(machine)
    assert place.traces() == {}
    assert _weight(machine) is None


def test_a_limit_that_cannot_be_set_is_told_and_leaves_the_others_as_they_were(place: Standing) -> None:
    sata = DiskSpec(id=uuid4(), size_bytes=GIB, kind=DiskKind.GROWING, bus=DiskBus.SATA, iops=70)
    machine = wishes.spec(number=11, memory_mib=64, disks=(sata,))
    assert _steps(place, machine)[-2:] == [Step.LAUNCH, Step.CHANGE_LIMITS]
    assert _throttled(place, machine) == {"disk0": (0, 70)}
    # Somebody has taken the machine's cable away.
    place.host.network.inside("ip", "link", "del", "ot00000b")
    end = place.apply(wishes.later(_limited(machine, iops=80, mbit_in=5), cpu_weight=200))
    assert end.error is not None
    assert end.error.code is ErrorCode.LIMIT_FAILED
    assert _throttled(place, machine) == {"disk0": (0, 70)}
    assert _weighs(machine, 100)
    place.delete(wishes.later(wishes.later(machine)))
    assert place.traces() == {}


def test_a_machine_that_starts_comes_before_those_that_compute_until_it_is_there(place: Standing) -> None:
    machine = wishes.spec(number=12, memory_mib=64)
    asked = _started_by_a_worker_that_dies_meanwhile(place, machine)
    assert _weighs(machine, 10000)
    place.host.start()
    assert place.ear.end_of(asked.operation_id, seconds=90).state is OperationState.DONE
    wait_for("it is one of many", lambda: _weighs(machine, 100), seconds=20)
    other = place.done(wishes.spec(number=13, memory_mib=64))
    assert _weighs(other, 100)
    for each in (machine, other):
        place.delete(wishes.later(each))
    assert place.traces() == {}


@pytest.mark.skipif(
    not Path("/proc/self/autogroup").exists(), reason="this kernel does not group by sessions"
)
def test_so_does_one_where_processors_are_shared_among_sessions() -> None:
    with standing_host() as bare:
        machine = wishes.spec(memory_mib=64)
        asked = _started_by_a_worker_that_dies_meanwhile(bare, machine)
        assert _place_among_sessions(bare) == ["nice -15"]
        bare.host.start()
        assert bare.ear.end_of(asked.operation_id, seconds=90).state is OperationState.DONE
        wait_for("nobody hurries", lambda: _place_among_sessions(bare) == ["nice 0"], seconds=20)
        bare.done(wishes.spec(number=11, memory_mib=64))
        assert _place_among_sessions(bare) == ["nice 0", "nice 0"]


def test_the_host_says_what_it_cannot_limit(place: Standing) -> None:
    missing = place.ear.heartbeat(place.host.name).facts.missing_features
    assert not [feature for feature in missing if "Bandwidth" in feature]
    assert any("Processor shares" in feature for feature in missing) is not cgroups.can_weigh()


def test_a_kernel_that_refuses_limits_is_found_out_without_a_trace() -> None:
    asks = "from workers.host.shaping import missing_for_limits as m; print(*m(), sep='\\n')"
    links = Path("/proc/self/net/dev").read_text().count("\n")
    powerless = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
    said = subprocess.run(
        (*powerless, sys.executable, "-c", asks), check=True, capture_output=True, text=True, timeout=60
    )
    assert said.stdout.splitlines() == [BANDWIDTH_IN_FEATURE, BANDWIDTH_OUT_FEATURE]
    assert missing_for_limits() == ()  # and this laboratory's has all of it
    assert Path("/proc/self/net/dev").read_text().count("\n") == links


def _limited(machine: MachineSpec, **limits: int) -> MachineSpec:
    """With these limits of its first disk and card, and no others."""
    disk = {name: limits.get(name) for name in ("iops", "mib_per_second")}
    card = {name: limits.get(name) for name in ("mbit_in", "mbit_out")}
    return machine.model_copy(
        update={
            "disks": (machine.disks[0].model_copy(update=disk), *machine.disks[1:]),
            "nics": (machine.nics[0].model_copy(update=card), *machine.nics[1:]),
        }
    )


def _steps(place: Standing, machine: MachineSpec) -> list[Step]:
    end = place.apply(machine, seconds=90)
    assert end.state is OperationState.DONE, (end, place.host.words()[-3000:])
    return [step.step for step in end.steps]


def _takes(place: Standing, machine: MachineSpec, **limits: float) -> None:
    """Never more than each limit, and most of it as soon as the laboratory is quick enough."""
    best = dict.fromkeys(limits, 0.0)
    for _ in range(10):
        seen = _measured(place, machine)
        for name, limit in limits.items():
            assert seen[name] < 1.3 * limit, (name, seen)
            best[name] = max(best[name], seen[name])
        if all(best[name] > 0.5 * limit for name, limit in limits.items()):
            return
    raise AssertionError(f"far less than {limits}: {best}")


def _measured(place: Standing, machine: MachineSpec) -> dict[str, float]:
    """What went through in a while, a second: to the guest, from it to the internet, and by its first disk."""
    before, begun = _counted(place, machine), time.monotonic()
    time.sleep(WINDOW_SECONDS)
    after, took = _counted(place, machine), time.monotonic() - begun
    rate = {name: (after[name] - before[name]) / took for name in before}
    return {
        "mbit_in": rate["to"] * 8 / 1e6,
        "mbit_out": rate["from"] * 8 / 1e6,
        "mib": rate["bytes"] / MIB,
        "operations": rate["operations"],
    }


def _counted(place: Standing, machine: MachineSpec) -> dict[str, int]:
    answer: Any = place.query(machine.machine_id, "query-blockstats")
    [stats] = [each["stats"] for each in answer if "disk0-device" in each.get("qdev", "")]
    return {
        "to": _counter(place, TAP, "tx_bytes"),
        "from": _counter(place, place.host.network.uplink, "tx_bytes"),
        "bytes": stats["rd_bytes"] + stats["wr_bytes"],
        "operations": stats["rd_operations"] + stats["wr_operations"],
    }


def _counter(place: Standing, link: str, name: str) -> int:
    return int(place.host.network.inside("cat", f"/sys/class/net/{link}/statistics/{name}"))


def _flows(place: Standing) -> None:
    """Both connections are up and carry something."""
    uplink = place.host.network.uplink
    for name in ("tx_bytes", "rx_bytes"):
        before = _counter(place, uplink, name)
        wait_for(f"{name} flow", lambda n=name, b=before: _counter(place, uplink, n) > b + 500_000)  # type: ignore[misc]


def _throttled(place: Standing, machine: MachineSpec) -> dict[str, tuple[int, int]]:
    """Bytes and operations a second of each disk, as qemu says them."""
    answer: Any = place.query(machine.machine_id, "query-block")
    found = {}
    for each in answer:
        inserted = each.get("inserted") or {}
        if "disk" in each.get("qdev", "") and inserted:
            found[inserted["node-name"]] = (inserted["bps"], inserted["iops"])
    return found


def _buckets(place: Standing, link: str) -> list[int]:
    """Bytes a second of each token bucket of a link."""
    said = json.loads(place.host.network.inside("tc", "-json", "qdisc", "show", "dev", link))
    return [each["options"]["rate"] for each in said if each["kind"] == "tbf"]


def _started_by_a_worker_that_dies_meanwhile(place: Standing, machine: MachineSpec) -> ApplyMachine:
    place.host.kill()
    place.host.set(OFFSHOOT_DIE_AT="machine hurried")
    place.host.start()
    asked = wishes.wish(machine)
    place.ear.ask(place.host.name, asked)
    place.host.wait_for_death()
    place.host.set(OFFSHOOT_DIE_AT="")
    return asked


def _place_among_sessions(place: Standing) -> list[str]:
    """Of each qemu, as sched(7) has it."""
    return [
        Path(f"/proc/{pid}/autogroup").read_text().partition(" ")[2].strip() for pid in place.host.qemus()
    ]


def _weighs(machine: MachineSpec, weight: int) -> bool:
    """The machine's group has this weight, as either version says it; or none where this host has no weights."""
    return _weight(machine) in ({str(weight), str(cgroups.shares(weight))} if cgroups.can_weigh() else {None})


def _weight(machine: MachineSpec) -> str | None:
    """The number in the machine's control group; None where there is no such group."""
    root = cgroups._cpu_root() or Path("/nowhere")
    files = [root / f"offshoot-{machine.machine_id}" / name for name in ("cpu.weight", "cpu.shares")]
    return next((file.read_text().strip() for file in files if file.exists()), None)
