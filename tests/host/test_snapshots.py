"""Snapshots with real guests: what was at one moment, on all disks and in memory, is there again; or nothing was changed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.guest.build import guest_disc
from tests.lab import wishes
from tests.lab.content import holds, write
from tests.lab.folder import filled
from tests.lab.processes import QEMU, processes_of
from tests.lab.standing import Standing, standing_host
from tests.lab.waiting import wait_for
from workers.contract.acts import DeleteSnapshot, FreezeDisks, FrozenDisk, RevertToSnapshot, TakeSnapshot
from workers.contract.errors import ErrorCode
from workers.contract.jobs import SnapshotFacts
from workers.contract.messages import ApplyMachine, Observed, OperationState, Progress, Step
from workers.contract.spec import MIB, DiskKind, DiskSpec, MachineSpec, Power, StopMode
from workers.effects.work import Superseded
from workers.host import moment
from workers.host.locks import is_held
from workers.host.monitor import MonitorLoop
from workers.host.shelf import shelf_of
from workers.host.wishes import newest_generation
from workers.plan.names import MachineFolder

SLOW = 120


@pytest.fixture(scope="module")
def place() -> Iterator[Standing]:
    with standing_host() as place:
        yield place


@pytest.fixture(scope="module")
def ledger(place: Standing) -> Iterator[Ledger]:
    """The machine whose guest writes one number after the other to its two disks."""
    disc = place.host.put_disc(uuid4(), guest_disc("ledger"))
    ledger = Ledger(place, place.done(wishes.spec(disks=two_disks(), disc=disc), seconds=SLOW))
    yield ledger
    place.delete(ledger.machine)


@pytest.fixture(scope="module")
def tight() -> Iterator[Ledger]:
    """Such a machine on a host with a small disk."""
    with standing_host(disk_mib=1200) as place:
        disc = place.host.put_disc(uuid4(), guest_disc("ledger"))
        ledger = Ledger(place, place.done(wishes.spec(disks=two_disks(), disc=disc), seconds=SLOW))
        yield ledger
        place.delete(ledger.machine)


def two_disks(kind: DiskKind = DiskKind.GROWING) -> tuple[DiskSpec, ...]:
    return (
        DiskSpec(id=uuid4(), size_bytes=64 * MIB, kind=DiskKind.GROWING),
        DiskSpec(id=uuid4(), size_bytes=64 * MIB, kind=kind, slot=1),
    )


class Ledger:
    """That machine, what its guest has said, and what stands on its disks."""

    def __init__(self, place: Standing, machine: MachineSpec) -> None:
        self.place, self.machine = place, machine

    def numbers(self) -> list[int]:
        """All that it has counted, of every boot, in the order in which it said so."""
        return [int(words) for words in self._said("count")]

    def boots(self) -> list[list[int]]:
        """What it found on its two disks at each boot."""
        return [[int(word) for word in words.split()] for words in self._said("found")]

    def counted_on(self, more: int = 5) -> int:
        """Wait until it has counted some more; the last number."""
        already = len(self.numbers())
        wait_for("it counts on", lambda: len(self.numbers()) >= already + more, seconds=SLOW)
        return self.numbers()[-1]

    def take(self, *, memory: bool) -> tuple[UUID, int, int]:
        """A snapshot, and the numbers before and after it."""
        snapshot, before = uuid4(), self.counted_on()
        self.machine = wishes.later(self.machine)
        end = self.place.apply(self.machine, TakeSnapshot(snapshot_id=snapshot, memory=memory), seconds=SLOW)
        assert end.state is OperationState.DONE, (end, self.place.host.words()[-3000:])
        assert [step.step for step in end.steps] == [Step.TAKE_SNAPSHOT]
        assert isinstance(end.facts, SnapshotFacts)
        assert (end.facts.memory_bytes > 0) == memory
        return snapshot, before, self.counted_on()

    def go_back(self, snapshot: UUID, *, memory: bool) -> Progress:
        self.machine = wishes.later(self.machine, run=self.machine.run + 1, stop_mode=StopMode.FORCE)
        act = RevertToSnapshot(snapshot_id=snapshot, memory=memory)
        end = self.place.apply(self.machine, act, seconds=SLOW)
        assert end.state is OperationState.DONE, (end, self.place.host.words()[-3000:])
        return end

    @property
    def folder(self) -> MachineFolder:
        return self.place.host.folder(self.machine.machine_id)

    @property
    def qemu(self) -> int:
        [qemu] = processes_of(self.folder.root, QEMU)
        return qemu

    @property
    def worker(self) -> int:
        assert self.place.host._process is not None
        return self.place.host._process.pid

    def wished(self) -> int:
        """The generation of the newest wish that its host has accepted."""
        return newest_generation(self.place.host.state, self.machine.machine_id)

    @contextmanager
    def stopped_while_memory_is_kept(
        self, wish: ApplyMachine, process: int, *, written: int = 0
    ) -> Iterator[None]:
        """A snapshot is asked for; from so many bytes of its memory on the process stands still while the inside is done."""
        assert isinstance(wish.act, TakeSnapshot)
        memory = shelf_of(self.folder, wish.act.snapshot_id).memory_file
        self.place.ear.ask(self.place.host.name, wish)
        wait_for(
            "its memory is being kept",
            lambda: memory.exists() and memory.stat().st_size >= written,
            pause=0.001,
        )
        os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(process, signal.SIGCONT)

    def _said(self, key: str) -> list[str]:
        path = self.place.host.folder(self.machine.machine_id).console_log
        log = path.read_text(errors="replace") if path.exists() else ""
        whole = log[: log.rindex("\n") + 1] if "\n" in log else ""
        mark = f"OFFSHOOT {key} "
        # The last of a line: what was cut off in the middle by going back stands before it.
        return [line.rpartition(mark)[2].strip() for line in whole.splitlines() if mark in line]


def test_going_back_with_memory_goes_on_in_the_same_run_and_with_the_disks_of_then(
    place: Standing, ledger: Ledger
) -> None:
    ledger.counted_on()
    snapshot, before, after = ledger.take(memory=True)
    boots = len(ledger.boots())
    ledger.counted_on(20)
    said = len(ledger.numbers())
    end = ledger.go_back(snapshot, memory=True)
    assert [step.step for step in end.steps][-3:] == [
        Step.REVERT_TO_SNAPSHOT, Step.PREPARE_NETWORK, Step.WAKE,
    ]  # fmt: skip
    ledger.counted_on()
    since = ledger.numbers()[said:]
    drop = next(i for i in range(len(since)) if since[i] <= after + 1 and since[i:] == sorted(since[i:]))
    assert before <= since[drop] <= after + 1
    assert since[drop:] == list(range(since[drop], since[drop] + len(since) - drop))
    assert len(ledger.boots()) == boots  # it never booted again
    # The guest never read its disks again, so what is on them has to be what it writes on from.
    place.done(off := wishes.later(ledger.machine, power=Power.OFF, stop_mode=StopMode.FORCE))
    last = ledger.numbers()[-1]
    first, second = (number_on(place, off, disk) for disk in off.disks)
    assert first >= second >= first - 1
    assert last <= second + 1
    assert first <= last + 2
    ledger.machine = place.done(wishes.later(off, power=Power.RUNNING, run=off.run + 1), seconds=SLOW)
    wait_for("it is up again", lambda: len(ledger.boots()) == boots + 1, seconds=SLOW)
    assert ledger.boots()[-1] == [first, second]


def test_without_memory_both_disks_are_of_one_instant_and_the_machine_boots_from_them(
    place: Standing, ledger: Ledger
) -> None:
    snapshot, before, after = ledger.take(memory=False)
    other, _, _ = ledger.take(memory=False)
    boots = len(ledger.boots())
    # Forgetting another one while it runs changes nothing of this one.
    ledger.machine = place.done(wishes.later(ledger.machine), DeleteSnapshot(snapshot_id=other))
    assert kept_in(place, ledger.machine) == [{str(snapshot)} | memory_ones(place, ledger.machine)] * 2
    ledger.go_back(snapshot, memory=False)
    wait_for("it is up again", lambda: len(ledger.boots()) == boots + 1, seconds=SLOW)
    first, second = ledger.boots()[-1]
    assert first >= second >= first - 1
    assert before - 1 <= first <= after
    ledger.counted_on()
    seen = place.ear.observed(ledger.machine.machine_id, lambda m: m.power is Observed.RUNNING)
    assert seen.power is Observed.RUNNING


def test_what_is_not_there_is_found_out_before_the_machine_is_touched(
    place: Standing, ledger: Ledger
) -> None:
    ledger.counted_on()
    boots = len(ledger.boots())
    ledger.machine = wishes.later(ledger.machine, run=ledger.machine.run + 1)
    end = place.apply(ledger.machine, RevertToSnapshot(snapshot_id=uuid4()))
    assert end.error is not None
    assert (end.state, end.error.code) == (OperationState.FAILED, ErrorCode.SNAPSHOT_MISSING)
    ledger.counted_on()
    assert len(ledger.boots()) == boots
    ledger.machine = place.done(
        wishes.later(ledger.machine, run=ledger.machine.run - 1), DeleteSnapshot(snapshot_id=uuid4())
    )


def test_a_snapshot_that_is_ended_early_leaves_nothing_and_the_guest_counts_on(
    place: Standing, ledger: Ledger, tmp_path: Path
) -> None:
    folder, monitors = place.host.folder(ledger.machine.machine_id), MonitorLoop()
    kept = kept_in(place, ledger.machine)

    def cancelled() -> None:
        raise Superseded("a newer wish came")

    try:
        with pytest.raises(Superseded):
            moment.keep_memory(
                folder.qmp_socket, monitors, tmp_path / "memory", stood_still=False,
                at_the_instant=lambda: None, tell=lambda _: None, end_early=cancelled,
            )  # fmt: skip
    finally:
        monitors.close()
        monitors.loop.close()
    ledger.counted_on()
    assert kept_in(place, ledger.machine) == kept


def test_a_newer_wish_in_the_middle_of_a_snapshot_ends_it_and_nothing_of_it_is_left(
    place: Standing, ledger: Ledger
) -> None:
    ledger.counted_on()
    was = lying_there(ledger)
    ledger.machine = wishes.later(ledger.machine)
    wish = wishes.wish(ledger.machine, TakeSnapshot(snapshot_id=uuid4(), memory=True))
    with ledger.stopped_while_memory_is_kept(wish, ledger.qemu):
        ledger.machine = wishes.later(ledger.machine)
        newer = wishes.wish(ledger.machine)
        place.ear.ask(place.host.name, newer)
        wait_for("the newer wish is known", lambda: ledger.wished() == ledger.machine.generation)
    assert place.ear.end_of(wish.operation_id).state is OperationState.SUPERSEDED
    assert place.ear.end_of(newer.operation_id).state is OperationState.DONE
    assert_it_runs_on_with_what_was_there(ledger, was)


def test_a_snapshot_that_would_fill_the_disk_is_given_up_and_leaves_nothing_of_it(tight: Ledger) -> None:
    tight.counted_on()
    was = lying_there(tight)
    tight.machine = wishes.later(tight.machine)
    with filled(tight.place.host.state.root, leave_mib=moment.KEPT_FREE_MIB - 8):
        end = tight.place.apply(tight.machine, TakeSnapshot(snapshot_id=uuid4(), memory=True))
    assert end.error is not None
    assert (end.state, end.error.code) == (OperationState.FAILED, ErrorCode.SNAPSHOT_FAILED)
    assert "left free" in end.error.detail
    assert_it_runs_on_with_what_was_there(tight, was)


def test_a_disk_that_fills_up_in_the_middle_of_a_snapshot_leaves_nothing_of_it(tight: Ledger) -> None:
    tight.counted_on()
    was = lying_there(tight)
    tight.machine = wishes.later(tight.machine)
    wish = wishes.wish(tight.machine, TakeSnapshot(snapshot_id=uuid4(), memory=True))
    # Most often qemu has written its memory by then, and it is the disks of that instant for which there is no room.
    with ExitStack() as full:
        with tight.stopped_while_memory_is_kept(wish, tight.worker, written=1):
            full.enter_context(filled(tight.place.host.state.root))
        end = tight.place.ear.end_of(wish.operation_id)
    assert end.error is not None
    assert end.state is OperationState.FAILED
    assert end.error.code in (ErrorCode.SNAPSHOT_FAILED, ErrorCode.DISK_FULL)
    assert_it_runs_on_with_what_was_there(tight, was)


def lying_there(ledger: Ledger) -> list[set[str]]:
    """The snapshots in each of its disks, and those beside them."""
    beside = {path.name for path in ledger.folder.snapshots.glob("*")}
    return [*kept_in(ledger.place, ledger.machine), beside]


def assert_it_runs_on_with_what_was_there(ledger: Ledger, was: list[set[str]]) -> None:
    """Its guest counts on, nothing of the snapshot is left, and the next one is whole."""
    boots = len(ledger.boots())
    ledger.counted_on()
    assert is_running(ledger.place, ledger.machine)
    assert lying_there(ledger) == was
    assert not ledger.folder.snapshot_journal.exists()
    snapshot, _, _ = ledger.take(memory=True)
    assert lying_there(ledger) == [each | {str(snapshot)} for each in was]
    assert len(ledger.boots()) == boots


def test_off_the_middle_of_three_goes_and_the_others_hold_what_they_held(place: Standing) -> None:
    machine = place.done(wishes.spec(power=Power.OFF, run=0, nics=(), disks=two_disks()))
    # On a base, as a linked clone's disks are.
    base = FrozenDisk(disk_id=machine.disks[0].id, base_id=uuid4())
    write(place.host.disk_file(machine.machine_id, machine.disks[0]), 0x77, offset=8 * MIB)
    machine = place.done(wishes.later(machine), FreezeDisks(disks=(base,)))
    files = [place.host.disk_file(machine.machine_id, disk) for disk in machine.disks]
    ids = [uuid4() for _ in range(3)]
    for number, snapshot in enumerate(ids, start=1):
        for path in files:
            write(path, number)
        machine = place.done(wishes.later(machine), TakeSnapshot(snapshot_id=snapshot, memory=True))
    for path in files:
        write(path, 0x99)
    machine = place.done(wishes.later(machine), DeleteSnapshot(snapshot_id=ids[1]))
    machine = place.done(wishes.later(machine), DeleteSnapshot(snapshot_id=ids[1]))
    assert kept_in(place, machine) == [{str(ids[0]), str(ids[2])}] * 2
    for number, snapshot in ((1, ids[0]), (3, ids[2]), (1, ids[0])):
        machine = place.done(wishes.later(machine), RevertToSnapshot(snapshot_id=snapshot))
        assert all(holds(path, number) for path in files)
        assert holds(files[0], 0x77, offset=8 * MIB)
        assert not is_held(place.host.folder(machine.machine_id).life_lock)
    for path in files:
        subprocess.run(("qemu-img", "check", "-q", str(path)), check=True, timeout=60)
    place.delete(machine)


def test_a_machine_with_a_fixed_disk_is_refused_and_nothing_is_left(place: Standing) -> None:
    machine = place.done(wishes.spec(power=Power.OFF, run=0, nics=(), disks=two_disks(DiskKind.FIXED)))
    end = place.apply(machine := wishes.later(machine), TakeSnapshot(snapshot_id=uuid4()))
    assert end.error is not None
    assert (end.state, end.error.code) == (OperationState.FAILED, ErrorCode.SNAPSHOT_FAILED)
    growing = place.host.disk_file(machine.machine_id, machine.disks[0])
    assert names_in(growing) == set()
    place.delete(machine)


TAKING = ("memory stands still", "disks kept at the instant", "memory written whole")
GOING_BACK = ("kept before going back", "a disk put back", "qemu waits for its memory")
"""The places at which something is half-made; at the others the test passes as well, and takes longer."""


def test_a_worker_that_is_killed_anywhere_ends_with_one_whole_snapshot_and_a_machine_that_is_back(
    place: Standing,
) -> None:
    machine = place.done(wishes.spec(memory_mib=64, nics=(), disks=two_disks()))
    snapshots: set[str] = set()
    for point in TAKING:
        act = TakeSnapshot(snapshot_id=uuid4(), memory=True)
        machine = wishes.later(machine)
        end = killed_at(place, point, machine, act)
        assert end.state is OperationState.DONE, (point, end)
        snapshots.add(str(act.snapshot_id))
        assert kept_in(place, machine) == [snapshots] * 2, point
        assert is_running(place, machine), point
    folder = place.host.folder(machine.machine_id)
    assert {path.name for path in folder.snapshots.iterdir()} == snapshots
    assert not folder.snapshot_journal.exists()
    for point in GOING_BACK:
        machine = wishes.later(machine, run=machine.run + 1, stop_mode=StopMode.FORCE)
        end = killed_at(place, point, machine, RevertToSnapshot(snapshot_id=act.snapshot_id, memory=True))
        assert end.state is OperationState.DONE, (point, end)
        assert kept_in(place, machine) == [snapshots] * 2, point
        assert is_running(place, machine), point
    assert not folder.snapshot_journal.exists()
    assert not folder.memory_file.exists()
    place.delete(machine)


def test_going_back_that_was_cut_off_and_is_wanted_no_more_is_undone_on_every_disk(place: Standing) -> None:
    machine = place.done(wishes.spec(power=Power.OFF, run=0, nics=(), disks=two_disks()))
    files = [place.host.disk_file(machine.machine_id, disk) for disk in machine.disks]
    for path in files:
        write(path, 1)
    snapshot = uuid4()
    machine = place.done(wishes.later(machine), TakeSnapshot(snapshot_id=snapshot))
    for path in files:
        write(path, 2)
    place.host.kill()
    place.host.set(OFFSHOOT_DIE_AT="a disk put back")
    place.host.start()
    place.ear.ask(place.host.name, wishes.wish(wishes.later(machine), RevertToSnapshot(snapshot_id=snapshot)))
    place.host.wait_for_death()
    assert [holds(path, 1) for path in files] == [True, False]
    place.host.set(OFFSHOOT_DIE_AT="")
    # The newer wish is what the worker finds when it starts.
    newer = wishes.wish(wishes.later(wishes.later(machine)))
    folder = place.host.folder(machine.machine_id)
    folder.wish_file.write_text(json.dumps(newer.to_wire()))
    place.host.start()
    assert place.ear.end_of(newer.operation_id).state is OperationState.DONE
    assert all(holds(path, 2) for path in files)
    assert kept_in(place, machine) == [{str(snapshot)}] * 2
    assert not folder.snapshot_journal.exists()
    place.delete(wishes.later(newer.spec))


def test_several_who_speak_with_a_machine_at_once_are_all_heard_while_it_tells_what_happens(
    place: Standing,
) -> None:
    """qemu serves one client a monitor; it drops one now and then that comes while it writes an event to the last."""
    machine = place.done(wishes.spec(memory_mib=64, nics=(), disks=two_disks()))
    socket, monitors = place.host.folder(machine.machine_id).qmp_socket, MonitorLoop()
    try:
        with ThreadPoolExecutor(3) as pool:
            events = [pool.submit(monitors.execute, socket, ("stop", {}), ("cont", {})) for _ in range(100)]
            questions = [pool.submit(monitors.execute, socket, ("query-status", {})) for _ in range(200)]
            assert all(each.result(SLOW) for each in (*events, *questions))
    finally:
        monitors.close()
        monitors.loop.close()
    place.delete(machine)


def killed_at(
    place: Standing, point: str, machine: MachineSpec, act: TakeSnapshot | RevertToSnapshot
) -> Progress:
    """The worker dies there, is started again, and how the operation ended."""
    place.host.kill()
    place.host.set(OFFSHOOT_DIE_AT=point)
    place.host.start()
    wish = wishes.wish(machine, act)
    place.ear.ask(place.host.name, wish)
    place.host.wait_for_death(seconds=SLOW)
    place.host.set(OFFSHOOT_DIE_AT="")
    place.host.start()
    return place.ear.end_of(wish.operation_id, seconds=SLOW)


def is_running(place: Standing, machine: MachineSpec) -> bool:
    status = place.query(machine.machine_id, "query-status")
    return isinstance(status, dict) and status["status"] == "running"


def names_in(path: Path) -> set[str]:
    argv = ("qemu-img", "info", "--force-share", "--output=json", str(path))
    found = json.loads(subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout)
    return {each["name"] for each in found.get("snapshots", ())}


def kept_in(place: Standing, machine: MachineSpec) -> list[set[str]]:
    """The snapshots in each of its disks."""
    return [names_in(place.host.disk_file(machine.machine_id, disk)) for disk in machine.disks]


def memory_ones(place: Standing, machine: MachineSpec) -> set[str]:
    """The snapshots of which the host has the memory."""
    return {path.parent.name for path in place.host.folder(machine.machine_id).snapshots.glob("*/memory")}


def number_on(place: Standing, machine: MachineSpec, disk: DiskSpec) -> int:
    """The number at the beginning of a disk of a machine that is off."""
    path = place.host.disk_file(machine.machine_id, disk)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page"
        argv = ("qemu-img", "dd", "-f", "qcow2", "-O", "raw", "bs=512", "count=1", f"if={path}", f"of={page}")
        subprocess.run(argv, check=True, capture_output=True, timeout=60)
        return int(page.read_bytes()[:12])
