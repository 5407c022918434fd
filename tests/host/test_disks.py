"""Disks as files: what is promised is really there, and what does not fit is refused before anything is left."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from tests.guest.build import guest_disc
from tests.lab import wishes
from tests.lab.broker import Broker, PortalsEar
from tests.lab.host import LabHost
from tests.lab.network import HostNetwork
from tests.lab.standing import Standing
from workers.contract.errors import ErrorCode
from workers.contract.messages import OperationState, Step, StepState
from workers.contract.spec import DiskKind, DiskSpec, MachineSpec, Power, StopMode

MIB = 1024 * 1024
ROOM_MIB = 1400
"""The whole disk of the host below: a fixed disk leaves 1024 MiB free, so about 370 MiB can be had."""


@pytest.fixture(scope="module")
def small() -> Iterator[Standing]:
    """A host whose state lies on a small disk of its own, with a machine running on it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ofs-", dir="/tmp")))
        folder.chmod(0o755)
        stack.enter_context(_mounted(folder / "host"))
        broker = stack.enter_context(closing(Broker(folder / "redis")))
        ear = stack.enter_context(closing(PortalsEar(broker)))
        network = stack.enter_context(closing(HostNetwork(folder, internet=False)))
        host = stack.enter_context(closing(LabHost("rack-1", folder / "host", broker, network)))
        host.start()
        yield Standing(folder, broker, host, ear)


@pytest.fixture(scope="module")
def neighbour(small: Standing) -> MachineSpec:
    """The machine that runs there already."""
    return small.done(wishes.spec(number=11, name="neighbour", memory_mib=64))


def test_a_growing_disk_is_qcow2_of_the_whole_size_and_takes_next_to_nothing(small: Standing) -> None:
    size = 40 * 1024 * MIB  # far more than the host has
    disk = DiskSpec(id=uuid4(), size_bytes=size, kind=DiskKind.GROWING)
    machine = small.done(wishes.spec(memory_mib=64, disks=(disk,)))
    path = small.host.disk_file(machine.machine_id, disk)
    info = json.loads(
        subprocess.run(
            ("qemu-img", "info", "--force-share", "--output=json", str(path)),
            check=True,
            capture_output=True,
            timeout=30,
        ).stdout
    )
    assert (info["format"], info["virtual-size"]) == ("qcow2", size)
    assert "backing-filename" not in info
    assert path.stat().st_blocks * 512 < 4 * MIB
    small.delete(machine)
    assert not path.exists()


def test_a_fixed_disk_is_raw_with_all_of_its_room_reserved(small: Standing) -> None:
    disk = DiskSpec(id=uuid4(), size_bytes=100 * MIB, kind=DiskKind.FIXED)
    before = _free_mib(small)
    machine = small.done(wishes.spec(memory_mib=64, disks=(disk,)))
    path = small.host.disk_file(machine.machine_id, disk)
    assert path.stat().st_size == disk.size_bytes
    assert path.stat().st_blocks * 512 >= disk.size_bytes
    assert before - _free_mib(small) >= 100
    with path.open("rb") as file:
        assert file.read(MIB) == bytes(MIB)
    small.delete(machine)
    assert before - _free_mib(small) < 5


@pytest.mark.parametrize("size_mib", [ROOM_MIB - 800, 64 * 1024 * 1024])
def test_a_fixed_disk_without_room_is_refused_before_anything_is_left(
    small: Standing, neighbour: MachineSpec, size_mib: int
) -> None:
    traces, free = small.traces(), _free_mib(small)
    first = DiskSpec(id=uuid4(), size_bytes=8 * MIB, kind=DiskKind.GROWING)
    second = DiskSpec(id=uuid4(), size_bytes=size_mib * MIB, kind=DiskKind.FIXED, slot=1)
    machine = wishes.spec(memory_mib=64, disks=(first, second))
    end = small.apply(machine)
    assert end.error is not None
    assert (end.state, end.error.code) == (OperationState.FAILED, ErrorCode.DISK_FULL)
    assert [step.step for step in end.steps if step.state is StepState.FAILED] == [Step.MAKE_DISKS]
    folder = small.host.folder(machine.machine_id)
    assert list(folder.root.glob("*.raw*")) == []
    assert small.traces() == traces
    assert free - _free_mib(small) <= 1
    # With a size that fits the same machine is made: the disk that was finished before is kept.
    smaller = second.model_copy(update={"size_bytes": 64 * MIB})
    made = small.host.disk_file(machine.machine_id, first).stat().st_ino
    machine = small.done(wishes.later(machine, disks=(first, smaller)))
    assert small.host.disk_file(machine.machine_id, first).stat().st_ino == made
    small.delete(machine)
    _assert_it_goes_on(small, neighbour)


def test_on_a_full_disk_everything_is_refused_in_words_and_the_neighbour_goes_on(
    small: Standing, neighbour: MachineSpec
) -> None:
    traces = small.traces()
    filler = small.host.state.root / "filler"
    new = wishes.spec(memory_mib=64)
    with _filled(filler):
        end = small.apply(new)
        assert end.error is not None, end
        assert (end.state, end.error.code) == (OperationState.FAILED, ErrorCode.DISK_FULL)
        assert small.traces() == traces
        _assert_it_goes_on(small, neighbour)
    small.delete(small.done(new))
    assert small.traces() == traces


def test_room_that_ends_in_the_middle_of_making_a_disk_is_a_full_disk_too(small: Standing) -> None:
    traces = small.traces()
    filler = small.host.state.root / "filler"
    machine = wishes.spec(memory_mib=64)
    with _filled(filler, leave_bytes=64 * 1024):  # enough for the wish, not for an empty qcow2
        end = small.apply(machine)
        assert end.error is not None, end
        assert (end.state, end.error.code) == (OperationState.FAILED, ErrorCode.DISK_FULL)
        assert small.traces() == traces
    small.delete(small.done(machine))


def test_what_the_guest_wrote_is_there_after_a_forced_off(small: Standing) -> None:
    """A growing disk grows by what is written, and the next start finds it."""
    disk = DiskSpec(id=uuid4(), size_bytes=256 * MIB, kind=DiskKind.GROWING)
    machine = small.done(wishes.spec(disks=(disk,), disc=small.host.put_disc(uuid4(), guest_disc("writer"))))
    assert small.host.heard(machine.machine_id, "found") == "nothing"
    small.host.heard(machine.machine_id, "written")
    path = small.host.disk_file(machine.machine_id, disk)
    assert path.stat().st_blocks * 512 > 4 * MIB
    off = small.done(wishes.later(machine, power=Power.OFF, stop_mode=StopMode.FORCE))
    small.host.folder(machine.machine_id).console_log.unlink()
    again = small.done(wishes.later(off, power=Power.RUNNING, run=2))
    assert small.host.heard(machine.machine_id, "found") == "kept"
    small.delete(again)


def _assert_it_goes_on(place: Standing, machine: MachineSpec) -> None:
    status = place.query(machine.machine_id, "query-status")
    assert isinstance(status, dict)
    assert status["status"] == "running"


def _free_mib(place: Standing) -> int:
    room = os.statvfs(place.host.state.root)
    return room.f_bavail * room.f_frsize // MIB


@contextmanager
def _mounted(folder: Path) -> Iterator[None]:
    folder.mkdir()
    subprocess.run(
        ("mount", "-t", "tmpfs", "-o", f"size={ROOM_MIB}m,mode=755", "offshoot-test", str(folder)), check=True
    )
    try:
        yield
    finally:
        subprocess.run(("umount", str(folder)), check=True, timeout=30)


@contextmanager
def _filled(filler: Path, *, leave_bytes: int = 0) -> Iterator[None]:
    """Nothing is left on the disk but `leave_bytes`."""
    with filler.open("wb") as file:
        try:
            room = os.statvfs(filler)
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - leave_bytes)
            yield
        finally:
            filler.unlink()
