"""A machine stands still: paused, hibernated, or because its system or its disk failed; and it goes on from there."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from uuid import uuid4

import pytest

from tests.guest.build import WITH_PANIC, guest_disc
from tests.lab import wishes
from tests.lab.broker import Broker, PortalsEar
from tests.lab.folder import short_folder, small_disk
from tests.lab.host import LabHost
from tests.lab.network import HostNetwork
from tests.lab.standing import Standing
from tests.lab.waiting import wait_for
from workers.contract.acts import Reset, Resume
from workers.contract.errors import ErrorCode
from workers.contract.messages import (
    ApplyMachine,
    EndReason,
    MachineObserved,
    Observed,
    OperationState,
    PauseReason,
    Step,
)
from workers.contract.spec import Autostart, DiskKind, DiskSpec, Firmware, MachineSpec, Power, StopMode
from workers.host.locks import is_held
from workers.host.memory import KEPT_FREE_MIB
from workers.killpoints import SAVING_POINTS, WAKING_POINTS

ROOM_MIB = 1000
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def place() -> Iterator[Standing]:
    """A host whose state lies on a small disk of its own."""
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        stack.enter_context(small_disk(folder / "host", mib=ROOM_MIB))
        broker = stack.enter_context(closing(Broker(folder / "redis")))
        ear = stack.enter_context(closing(PortalsEar(broker)))
        network = stack.enter_context(closing(HostNetwork(folder, internet=False)))
        host = stack.enter_context(closing(LabHost("rack-1", folder / "host", broker, network)))
        host.start()
        ear.heartbeat(host.name)
        yield Standing(folder, broker, host, ear)


@pytest.fixture(scope="module")
def counting(place: Standing) -> Counting:
    """The machine whose guest counts, from its boot on."""
    machine = place.done(
        wishes.spec(disc=place.host.put_disc(uuid4(), guest_disc("counter")), memory_mib=128)
    )
    place.host.heard(machine.machine_id, "count")
    return Counting(place, machine)


class Counting:
    """A machine with its newest wish, and what its guest counts."""

    def __init__(self, place: Standing, machine: MachineSpec) -> None:
        self.place = place
        self.machine = machine

    def later(self, **changes: object) -> MachineSpec:
        self.machine = wishes.later(self.machine, **changes)
        return self.machine

    def count(self) -> tuple[str, int]:
        """The guest's present life, and how far it has counted in it."""
        life, number = self.place.host.heard(self.machine.machine_id, "count").split()
        return life, int(number)

    def goes_on_from(self, life: str, number: int) -> None:
        """The same life has counted further."""
        wait_for("it counts on", lambda: self.count()[0] != life or self.count()[1] > number + 1, seconds=60)
        assert self.count()[0] == life
        log = self.place.host.folder(self.machine.machine_id).console_log.read_text(errors="replace")
        numbers = [int(line.split()[-1]) for line in log.splitlines() if f"OFFSHOOT count {life} " in line]
        # Some are said while no worker listens; none is said twice.
        assert numbers == sorted(set(numbers))

    def seen(self, power: Observed) -> MachineObserved:
        """What the host says of it, once that is this."""
        generation = self.machine.generation
        return self.place.ear.observed(
            self.machine.machine_id, lambda m: m.generation == generation and m.power is power
        )


def test_paused_it_stands_still_also_for_the_next_worker_and_goes_on(counting: Counting) -> None:
    place, host = counting.place, counting.place.host
    place.done(counting.later(power=Power.PAUSED))
    assert counting.seen(Observed.PAUSED).paused_for is PauseReason.PERSON
    stood_at = counting.count()
    host.kill()
    host.start()
    counting.later()
    place.done(counting.machine)
    assert counting.seen(Observed.PAUSED).paused_for is PauseReason.PERSON
    assert counting.count() == stood_at
    end = place.apply(counting.later(power=Power.RUNNING))
    assert [step.step for step in end.steps] == [Step.RESUME]
    assert counting.seen(Observed.RUNNING).paused_for is None
    counting.goes_on_from(*stood_at)


def test_reset_while_it_runs_its_system_begins_anew_in_the_same_machine(counting: Counting) -> None:
    place, machine_id = counting.place, counting.machine.machine_id
    (life, _), qemus = counting.count(), place.host.qemus()
    log = place.host.folder(machine_id).console_log
    boots = log.read_text(errors="replace").count("OFFSHOOT up")
    end = place.apply(counting.later(), Reset())
    assert (end.state, [step.step for step in end.steps]) == (OperationState.DONE, [Step.RESET])
    wait_for("it has begun a new life", lambda: counting.count()[0] != life, seconds=60)
    counting.goes_on_from(*counting.count())
    assert log.read_text(errors="replace").count("OFFSHOOT up") == boots + 1
    assert place.host.qemus() == qemus
    assert counting.seen(Observed.RUNNING).run == counting.machine.run
    since = place.ear.heartbeat(place.host.name).sequence
    beat = place.ear.heartbeat(place.host.name, since=since)
    [now] = [each for each in beat.machines if each.machine_id == machine_id]
    assert now.guest_resets == 0  # a person pressed the button


def test_hibernated_it_leaves_nothing_running_and_wakes_in_the_same_life(counting: Counting) -> None:
    place, host, folder = (
        counting.place,
        counting.place.host,
        counting.place.host.folder(counting.machine.machine_id),
    )
    place.done(counting.later(power=Power.SAVED))
    stood_at = counting.count()
    assert not is_held(folder.life_lock)
    assert host.network.links() == set()
    assert counting.seen(Observed.SAVED).reason is None
    memory = folder.memory_file.stat()
    assert (memory.st_uid, memory.st_mode & 0o777) == (0, 0o600)

    # Neither a worker's restart nor a reboot of the host wakes it.
    host.kill()
    record = folder.launched_file
    record.write_text(json.dumps(json.loads(record.read_text()) | {"boot": "an earlier one"}))
    host.start()
    place.done(counting.later(autostart=Autostart.ALWAYS))
    counting.seen(Observed.SAVED)
    assert not is_held(folder.life_lock)

    end = place.apply(counting.later(power=Power.RUNNING))
    assert end.state is OperationState.DONE, (end, host.words()[-3000:])
    assert [step.step for step in end.steps] == [Step.FETCH_DISC, Step.PREPARE_NETWORK, Step.WAKE]
    counting.seen(Observed.RUNNING)
    counting.goes_on_from(*stood_at)
    assert not folder.memory_file.exists()
    assert not folder.saved_file.exists()


def test_hardware_that_was_changed_while_it_ran_is_there_when_it_wakes(counting: Counting) -> None:
    place, stood_at = counting.place, counting.count()
    disk = DiskSpec(id=uuid4(), size_bytes=64 * MIB, kind=DiskKind.GROWING, slot=3)
    disks = counting.machine.disks
    place.done(counting.later(disks=(*disks, disk)))
    for power in (Power.SAVED, Power.RUNNING):
        end = place.apply(counting.later(power=power))
        assert end.state is OperationState.DONE, (end, place.host.words()[-3000:])
    assert str(disk.id) in str(place.query(counting.machine.machine_id, "query-block"))
    counting.goes_on_from(*stood_at)
    place.done(counting.later(disks=disks))


def test_a_hibernation_that_is_cancelled_lets_it_go_on(counting: Counting) -> None:
    place, stood_at = counting.place, counting.count()
    asked = wishes.wish(counting.later(power=Power.SAVED))
    place.ear.ask(place.host.name, asked)
    wait_for("it is being saved", lambda: place.ear.progress(asked.operation_id), pause=0.005)
    place.done(counting.later(power=Power.RUNNING))
    counting.goes_on_from(*stood_at)
    assert not list(place.host.folder(counting.machine.machine_id).root.glob("memory*"))


def test_a_hibernation_without_room_lets_it_go_on(counting: Counting) -> None:
    place, stood_at = counting.place, counting.count()
    with _filled(place, leave_mib=KEPT_FREE_MIB - 8):
        end = place.apply(counting.later(power=Power.SAVED))
    assert (end.state, end.error and end.error.code) == (OperationState.FAILED, ErrorCode.SAVE_FAILED)
    counting.later(power=Power.RUNNING)
    place.done(counting.machine)
    counting.seen(Observed.RUNNING)
    counting.goes_on_from(*stood_at)
    assert not list(place.host.folder(counting.machine.machine_id).root.glob("memory*"))


def test_a_worker_killed_anywhere_in_saving_or_waking_loses_no_memory(counting: Counting) -> None:
    place, host = counting.place, counting.place.host
    for saving, waking in zip(SAVING_POINTS, WAKING_POINTS, strict=True):
        stood_at = counting.count()
        for power, point in ((Power.SAVED, saving), (Power.RUNNING, waking)):
            host.kill()
            host.set(OFFSHOOT_DIE_AT=point)
            host.start()
            wish = wishes.wish(counting.later(power=power))
            place.ear.ask(host.name, wish)
            host.wait_for_death()
            host.set(OFFSHOOT_DIE_AT="")
            host.start()
            end = place.ear.end_of(wish.operation_id)
            assert end.state is OperationState.DONE, (point, end, host.words()[-3000:])
            assert len(host.qemus()) == (0 if power is Power.SAVED else 1), point
            counting.seen(Observed.SAVED if power is Power.SAVED else Observed.RUNNING)
        counting.goes_on_from(*stood_at)
    assert not list(host.folder(counting.machine.machine_id).root.glob("memory*"))


def test_what_cannot_be_woken_is_kept_and_started_anew_only_when_told_so(counting: Counting) -> None:
    place, host, folder = (
        counting.place,
        counting.place.host,
        counting.place.host.folder(counting.machine.machine_id),
    )
    place.done(counting.later(power=Power.SAVED))
    life, _ = counting.count()
    whole = folder.memory_file.read_bytes()
    folder.memory_file.write_bytes(whole[: len(whole) // 2])
    end = place.apply(counting.later(power=Power.RUNNING))
    assert (end.state, end.error and end.error.code) == (OperationState.FAILED, ErrorCode.WAKE_FAILED)
    assert not is_held(folder.life_lock)
    assert host.network.links() == set()
    counting.seen(Observed.SAVED)
    assert folder.memory_file.stat().st_size == len(whole) // 2

    end = place.apply(counting.later(power=Power.RUNNING, run=counting.machine.run + 1))
    assert end.state is OperationState.DONE, (end, host.words()[-3000:])
    assert Step.DISCARD_SAVED in [step.step for step in end.steps]
    assert not list(folder.root.glob("memory*"))
    wait_for("it has begun a new life", lambda: counting.count()[0] != life, seconds=60)

    # Forced off while it is hibernated, it is off.
    place.done(counting.later(power=Power.SAVED))
    place.done(counting.later(power=Power.OFF, stop_mode=StopMode.FORCE))
    assert counting.seen(Observed.OFF).reason is EndReason.PERSON
    assert not list(folder.root.glob("memory*"))
    life, _ = counting.count()
    place.done(counting.later(power=Power.RUNNING, run=counting.machine.run + 1))
    wait_for("it has begun a new life", lambda: counting.count()[0] != life, seconds=60)


def test_firmware_and_tpm_go_on_with_the_machine(place: Standing) -> None:
    base = wishes.spec(number=13, memory_mib=128, firmware=Firmware.UEFI_SECURE, tpm=True)
    machine = place.done(base)
    for _ in range(2):
        place.done(machine := wishes.later(machine, power=Power.SAVED))
        assert not is_held(place.host.folder(machine.machine_id).life_lock)
        place.done(machine := wishes.later(machine, power=Power.RUNNING))
        assert _status(place, machine) == "running"
        assert place.query(machine.machine_id, "query-tpm") != []
    place.delete(machine)


def test_a_crashed_system_stays_to_be_seen_and_begins_anew_when_it_is_reset(place: Standing) -> None:
    disc = place.host.put_disc(uuid4(), guest_disc("panic", kernel=WITH_PANIC))
    machine = place.done(wishes.spec(number=11, disc=disc, memory_mib=128))
    place.ear.observed(machine.machine_id, lambda m: m.paused_for is PauseReason.PANIC, seconds=60)
    # Whatever else is wished leaves it standing.
    place.done(machine := wishes.later(machine, name="renamed"))
    assert _status(place, machine) == "guest-panicked"
    reset = ApplyMachine(operation_id=uuid4(), spec=wishes.later(machine), act=Reset())
    place.ear.ask(place.host.name, reset)
    assert place.ear.end_of(reset.operation_id).state is OperationState.DONE
    log = place.host.folder(machine.machine_id).console_log
    wait_for("it boots again", lambda: log.read_text(errors="replace").count("OFFSHOOT up") == 2, seconds=60)
    place.delete(reset.spec)


def test_a_guest_that_restarts_itself_a_full_disk_and_a_broken_one_are_told_apart(place: Standing) -> None:
    disc = place.host.put_disc(uuid4(), guest_disc("trouble"))
    machine = place.done(wishes.spec(number=12, disc=disc, memory_mib=128, power=Power.OFF, run=0))
    _break_second_half(place.host.disk_file(machine.machine_id, machine.disks[0]))
    with _filled(place, leave_mib=8):
        place.done(machine := wishes.later(machine, power=Power.RUNNING, run=1))
        place.ear.observed(machine.machine_id, lambda m: m.guest_resets == 1, seconds=90)
        place.ear.observed(machine.machine_id, lambda m: m.paused_for is PauseReason.NO_SPACE, seconds=90)
        # The next worker still knows why.
        place.host.kill()
        place.host.start()
        since = place.ear.heartbeat(place.host.name).sequence
        beat = place.ear.heartbeat(place.host.name, since=since)
        [seen] = [each for each in beat.machines if each.machine_id == machine.machine_id]
        assert (seen.power, seen.paused_for) == (Observed.PAUSED, PauseReason.NO_SPACE)
        assert seen.guest_resets == 1
        assert "written" not in place.host.said(machine.machine_id)
    # There is room again: nobody has to do anything.
    place.host.heard(machine.machine_id, "written")
    place.ear.observed(machine.machine_id, lambda m: m.paused_for is PauseReason.IO_ERROR, seconds=30)
    resume = ApplyMachine(operation_id=uuid4(), spec=wishes.later(machine), act=Resume())
    place.ear.ask(place.host.name, resume)
    assert [step.step for step in place.ear.end_of(resume.operation_id).steps] == [Step.RESUME]
    wait_for("it stands still again", lambda: _status(place, machine) == "io-error")
    assert "read" not in place.host.said(machine.machine_id), "its system has seen no error"
    place.delete(resume.spec)


def _status(place: Standing, machine: MachineSpec) -> str:
    said = place.query(machine.machine_id, "query-status")
    assert isinstance(said, dict)
    return str(said["status"])


class _filled:
    """Nothing is left on the host's disk but so many MiB."""

    def __init__(self, place: Standing, *, leave_mib: int) -> None:
        self._file = place.host.state.root / "filler"
        self._leave = leave_mib * MIB

    def __enter__(self) -> None:
        room = os.statvfs(self._file.parent)
        with self._file.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - self._leave)

    def __exit__(self, *_: object) -> None:
        self._file.unlink()


def _break_second_half(disk: Path) -> None:
    """Reading the qcow2 file's second half gigabyte fails: all of it is said to be compressed, which zeros are not.

    See docs/interop/qcow2.txt of qemu. The table lies behind all that the test writes.
    """
    table, garbage = 64 * MIB, 96 * MIB
    with disk.open("r+b") as file:
        [first] = struct.unpack(">Q", file.read(48)[40:48])
        file.seek(first + 8)
        file.write(struct.pack(">Q", 1 << 63 | table))
        file.seek(table)
        file.write(struct.pack(">Q", 1 << 62 | garbage) * 8192)
        file.truncate(garbage + MIB)
