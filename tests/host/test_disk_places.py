"""Disks that are moved, converted, frozen, shared and copied: what was in them is there afterwards, whatever happens meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.guest.build import WITH_EXT4, guest_disc
from tests.lab import wishes
from tests.lab.content import facts, holds, taken_mib, write
from tests.lab.processes import processes_of
from tests.lab.standing import Standing, standing_host
from tests.lab.waiting import wait_for
from workers.contract.acts import FreezeDisks, FrozenDisk
from workers.contract.disks import MIB, BaseOrigin, CopyOrigin, DiskKind, DiskSpec
from workers.contract.errors import ErrorCode
from workers.contract.jobs import ForgetBase
from workers.contract.messages import ApplyMachine, DoJob, OperationState, Progress, Step
from workers.contract.spec import MachineSpec, Power, StopMode
from workers.plan.names import disk_file_name

GROWING, FIXED = DiskKind.GROWING, DiskKind.FIXED
SMALL_MIB = 1300
"""The whole of the pool 'small': of a fixed disk about 270 MiB can be had, since 1 GiB stays free."""


@pytest.fixture(scope="module")
def pools() -> Iterator[dict[str, Path]]:
    """Two pools on a disk each."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ofs-pools-", dir="/tmp")))
        folder.chmod(0o755)
        places = {"fast": folder / "fast", "small": folder / "small"}
        for name, size_mib in (("fast", 4096), ("small", SMALL_MIB)):
            places[name].mkdir()
            options = f"size={size_mib}m,mode=755"
            subprocess.run(
                ("mount", "-t", "tmpfs", "-o", options, "offshoot-test", str(places[name])), check=True
            )
            stack.callback(subprocess.run, ("umount", str(places[name])), check=True, timeout=60)
        yield places


@pytest.fixture(scope="module")
def place(pools: dict[str, Path]) -> Iterator[Standing]:
    """One host for the whole file."""
    named = ",".join(f"{name}={path}" for name, path in pools.items())
    with standing_host(OFFSHOOT_POOLS=named) as place:
        yield place
        assert list(place.host.state.machines.glob("*/")) == []
        for path in pools.values():
            assert [each for each in (path / "offshoot").glob("*/*") if each.is_file()] == []


def disk(kind: DiskKind = GROWING, *, size_mib: int = 64, **fields: Any) -> DiskSpec:
    return DiskSpec(id=uuid4(), size_bytes=size_mib * MIB, kind=kind, **fields)


def off(place: Standing, *disks: DiskSpec) -> MachineSpec:
    """A machine that is off, its disks made; their first MiB is full of 7s."""
    machine = place.done(wishes.spec(power=Power.OFF, run=0, memory_mib=64, disks=disks, nics=()))
    for each in disks:
        write(file_of(place, machine, each), 7)
    return machine


def file_of(place: Standing, machine: MachineSpec, one: DiskSpec) -> Path:
    """Where a disk is wanted."""
    name = disk_file_name(one.id, one.kind)
    if one.pool is None:
        return place.host.folder(machine.machine_id).root / name
    return pool_of(place, one.pool) / str(machine.machine_id) / name


def pool_of(place: Standing, name: str) -> Path:
    places = dict(each.split("=") for each in place.host._environ["OFFSHOOT_POOLS"].split(","))
    return Path(places[name]) / "offshoot"


def with_disk(machine: MachineSpec, before: DiskSpec, **changes: Any) -> tuple[MachineSpec, DiskSpec]:
    after = before.model_copy(update=changes)
    disks = tuple(after if each.id == before.id else each for each in machine.disks)
    return wishes.later(machine, disks=disks), after


def refused(end: Progress, code: ErrorCode) -> str:
    """It failed for this reason; its detail."""
    assert end.error is not None, end
    assert (end.state, end.error.code) == (OperationState.FAILED, code), end
    return end.error.detail


def unfinished(place: Standing, pools: dict[str, Path]) -> list[Path]:
    roots = (place.host.state.root, *pools.values())
    return [path for root in roots for path in (*root.rglob("*.part"), *root.rglob("freezing.json"))]


def frozen(machine: MachineSpec) -> FreezeDisks:
    return FreezeDisks(disks=tuple(FrozenDisk(disk_id=each.id, base_id=uuid4()) for each in machine.disks))


def killed_at(place: Standing, point: str, machine: MachineSpec, act: FreezeDisks | None = None) -> UUID:
    """The worker dies at this point of carrying out the wish; it is started again."""
    place.host.stop()
    place.host.set(OFFSHOOT_DIE_AT=point)
    place.host.start()
    wish = wishes.wish(machine, act)
    place.ear.ask(place.host.name, wish)
    place.host.wait_for_death()
    place.host.set(OFFSHOOT_DIE_AT="")
    return wish.operation_id


def test_a_host_tells_of_its_pools(place: Standing, pools: dict[str, Path]) -> None:
    beat = place.ear.heartbeat(place.host.name)
    seen = {pool.name: pool for pool in beat.usage.pools}
    assert seen["small"].total_mib == SMALL_MIB
    assert 0 < seen["small"].free_mib <= SMALL_MIB
    assert [pool.problem for pool in beat.usage.pools] == ["", ""]
    ours = pools["fast"] / "offshoot"
    ours.chmod(0o700)  # qemu's account could not pass
    wait_for("the folder is put right", lambda: ours.stat().st_mode & 0o777 == 0o711)
    aside = ours.rename(ours.with_name("away"))
    wait_for("it is told", lambda: "mounted" in _problem(place, "fast"))
    aside.rename(ours)
    wait_for("it is well again", lambda: not _problem(place, "fast"))


def _problem(place: Standing, pool: str) -> str:
    beat = place.ear.heartbeat(place.host.name)
    return next(each.problem for each in beat.usage.pools if each.name == pool)


def test_a_disk_is_moved_and_converted_and_keeps_what_is_in_it(
    place: Standing, pools: dict[str, Path]
) -> None:
    growing = disk()
    machine = off(place, growing)
    old = file_of(place, machine, growing)
    moved, fixed = with_disk(machine, growing, kind=FIXED, pool="fast")
    end = place.apply(moved)
    assert (end.state, [step.step for step in end.steps]) == (OperationState.DONE, [Step.CONVERT_DISKS])
    new = file_of(place, moved, fixed)
    assert holds(new, 7)
    assert new.stat().st_blocks * 512 >= fixed.size_bytes  # all of its room is reserved
    assert not old.exists()
    # And back, above which it runs.
    back, _ = with_disk(moved, fixed, kind=GROWING, pool=None)
    place.done(wishes.later(back, power=Power.RUNNING, run=1))
    assert not new.parent.exists()
    place.done(
        gone := wishes.later(back, generation=back.generation + 2, power=Power.OFF, stop_mode=StopMode.FORCE)
    )
    assert holds(old, 7)
    assert taken_mib(old) < 4
    place.delete(gone)
    assert unfinished(place, pools) == []


@pytest.mark.parametrize("point", ["disk copied", "disk in its new place", "new place noted"])
def test_a_worker_killed_while_it_converts_ends_with_one_whole_disk(
    place: Standing, pools: dict[str, Path], point: str
) -> None:
    growing = disk()
    machine = off(place, growing)
    old = file_of(place, machine, growing)
    moved, fixed = with_disk(machine, growing, kind=FIXED, pool="fast")
    operation = killed_at(place, point, moved)
    place.host.start()
    assert place.ear.end_of(operation).state is OperationState.DONE
    assert holds(file_of(place, moved, fixed), 7)
    assert not old.exists()
    assert unfinished(place, pools) == []
    place.delete(moved)


def test_a_wish_that_is_taken_back_leaves_the_disk_where_it_was(
    place: Standing, pools: dict[str, Path]
) -> None:
    growing = disk()
    machine = off(place, growing)
    old = file_of(place, machine, growing)
    moved, fixed = with_disk(machine, growing, kind=FIXED, pool="fast")
    killed_at(place, "disk in its new place", moved)
    write(old, 8)  # what a copy that was left over would not know of
    place.host.start()
    place.done(back := wishes.later(moved, disks=machine.disks))
    if old.exists():  # else the worker had gone on before the newer wish came
        assert not file_of(place, moved, fixed).exists()
    assert holds(old, 8)
    place.delete(back)


def test_converting_is_told_in_per_cent_and_can_be_cancelled(place: Standing, pools: dict[str, Path]) -> None:
    growing = disk(size_mib=1024)
    machine = off(place, growing)
    old = file_of(place, machine, growing)
    write(old, 9, offset=MIB, size=300 * MIB)
    moved, _ = with_disk(machine, growing, pool="fast")
    wish = wishes.wish(moved)
    place.ear.ask(place.host.name, wish)
    [copier] = wait_for("it is being copied", lambda: _copiers(pools), pause=0.005)
    os.kill(copier, signal.SIGSTOP)
    back = wishes.later(moved, disks=machine.disks)
    place.done(back)
    assert place.ear.end_of(wish.operation_id).state is OperationState.SUPERSEDED
    wait_for("the copier is gone", lambda: not _copiers(pools))
    assert unfinished(place, pools) == []
    assert not list((pools["fast"] / "offshoot").glob("*/*"))
    assert holds(old, 9, offset=MIB, size=300 * MIB)
    # The same again, to its end.
    again = wishes.later(back, disks=moved.disks)
    wish = wishes.wish(again)
    place.ear.ask(place.host.name, wish)
    assert place.ear.end_of(wish.operation_id, seconds=120).state is OperationState.DONE
    percents = [report.steps[0].percent for report in place.ear.progress(wish.operation_id) if report.steps]
    assert [each for each in percents if 0 < each < 100]
    assert percents == sorted(percents)
    place.delete(again)


def test_a_full_clone_is_told_in_per_cent_and_deleting_it_ends_the_copying(
    place: Standing, pools: dict[str, Path]
) -> None:
    source_disk = disk(size_mib=1024)
    source = off(place, source_disk)
    write(file_of(place, source, source_disk), 9, offset=MIB, size=300 * MIB)
    origin = CopyOrigin(machine_id=source.machine_id, disk_id=source_disk.id)

    def cloned() -> ApplyMachine:
        clone = wishes.spec(
            power=Power.OFF, run=0, nics=(), disks=(disk(size_mib=1024, origin=origin, pool="fast"),)
        )
        return wishes.wish(clone)

    wish = cloned()
    place.ear.ask(place.host.name, wish)
    [copier] = wait_for("it is being copied", lambda: _copiers(pools), pause=0.005)
    os.kill(copier, signal.SIGSTOP)
    place.delete(wish.spec)
    assert place.ear.end_of(wish.operation_id).state is OperationState.SUPERSEDED
    wait_for("the copier is gone", lambda: not _copiers(pools))
    assert unfinished(place, pools) == []
    assert not list((pools["fast"] / "offshoot").glob("*/*"))
    assert not place.host.folder(wish.spec.machine_id).root.exists()
    # Another one, to its end.
    again = cloned()
    place.ear.ask(place.host.name, again)
    assert place.ear.end_of(again.operation_id, seconds=120).state is OperationState.DONE
    percents = told_of(place, again, Step.MAKE_DISKS)
    assert [each for each in percents if 0 < each < 100]
    assert percents == sorted(percents)
    [made] = again.spec.disks
    assert holds(file_of(place, again.spec, made), 9, offset=MIB, size=300 * MIB)
    place.delete(again.spec)
    place.delete(source)


def told_of(place: Standing, wish: ApplyMachine, step: Step) -> list[int]:
    """The per cents that were reported of this step."""
    reports = place.ear.progress(wish.operation_id)
    return [each.percent for report in reports for each in report.steps if each.step is step]


def test_a_worker_that_is_killed_takes_its_copier_with_it(place: Standing, pools: dict[str, Path]) -> None:
    growing = disk(size_mib=1024)
    machine = off(place, growing)
    write(file_of(place, machine, growing), 9, offset=MIB, size=300 * MIB)
    moved, there = with_disk(machine, growing, pool="fast")
    wish = wishes.wish(moved)
    place.ear.ask(place.host.name, wish)
    [copier] = wait_for("it is being copied", lambda: _copiers(pools), pause=0.005)
    os.kill(copier, signal.SIGSTOP)
    place.host.kill()
    wait_for("the copier is gone", lambda: not _copiers(pools))
    place.host.start()
    assert place.ear.end_of(wish.operation_id, seconds=120).state is OperationState.DONE
    assert holds(file_of(place, moved, there), 9, offset=MIB, size=300 * MIB)
    assert unfinished(place, pools) == []
    place.delete(moved)


def _copiers(pools: dict[str, Path]) -> list[int]:
    return processes_of(pools["fast"], "qemu-img\0convert")


def test_no_room_is_said_before_anything_is_written(place: Standing, pools: dict[str, Path]) -> None:
    growing = disk(size_mib=600)
    machine = off(place, growing)
    fixed, _ = with_disk(machine, growing, kind=FIXED, pool="small")
    assert "not enough room: 0.6 GiB" in refused(place.apply(fixed), ErrorCode.DISK_FULL)
    assert unfinished(place, pools) == []
    # What it really holds would fit.
    moved, there = with_disk(fixed, growing, pool="small")
    place.done(moved := moved.model_copy(update={"generation": fixed.generation + 1}))
    assert holds(file_of(place, moved, there), 7)
    place.delete(moved)
    assert not list((pools["small"] / "offshoot").glob(str(moved.machine_id)))


def test_a_disk_that_is_gone_is_never_made_anew(place: Standing, pools: dict[str, Path]) -> None:
    here, there = disk(), disk(slot=1, pool="fast")
    machine = off(place, here, there)
    for one in (here, there):
        path = file_of(place, machine, one)
        aside = path.rename(path.with_suffix(".aside"))
        machine = wishes.later(machine, power=Power.RUNNING, run=machine.run + 1)
        assert str(path) in refused(place.apply(machine), ErrorCode.DISK_LOST)
        assert not path.exists()
        aside.rename(path)
    ours = pools["fast"] / "offshoot"
    away = ours.rename(ours.with_name("away"))
    machine = wishes.later(machine, run=machine.run + 1)
    assert "mounted" in refused(place.apply(machine), ErrorCode.PLACE_MISSING)
    assert not ours.exists()
    place.delete(machine)  # nothing keeps a machine from being deleted
    away.rename(ours)
    place.host.stop()
    place.host.start()  # what is left of it goes with the next start
    wait_for("its disk in the pool is gone", lambda: not (ours / str(machine.machine_id)).exists())


def test_many_machines_begin_at_once_as_one_frozen_disk(place: Standing) -> None:
    one, two = disk(), disk(FIXED, slot=1, pool="fast")
    machine = off(place, one, two)
    remembers = place.host.folder(machine.machine_id).root / "firmware-uefi.qcow2"
    remembers.write_bytes(b"a boot entry")
    act = frozen(machine)
    place.done(machine := wishes.later(machine), act)
    remembers.write_bytes(b"a later boot entry")
    [first, second] = act.disks
    base = place.host.state.bases / f"{first.base_id}.qcow2"
    fixed_base = pool_of(place, "fast") / "bases" / f"{second.base_id}.raw"
    for path in (base, fixed_base):
        assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (0, 0o440)
        assert holds(path, 7)
    # It goes on above them, growing both.
    machine, two = with_disk(machine, two, kind=GROWING, origin=BaseOrigin(base_id=second.base_id))
    machine, one = with_disk(machine, one, origin=BaseOrigin(base_id=first.base_id))
    end = place.apply(machine := wishes.later(machine, power=Power.RUNNING, run=1))
    assert [step.step for step in end.steps] == [Step.LAUNCH], end

    clones = [
        wishes.spec(
            power=Power.RUNNING, memory_mib=64, nics=(),
            disks=(
                disk(size_mib=128, origin=BaseOrigin(base_id=first.base_id)),
                disk(slot=1, pool="fast", origin=BaseOrigin(base_id=second.base_id)),
            ),
        )
        for _ in range(5)
    ]  # fmt: skip
    asked = [wishes.wish(each) for each in clones]
    for wish in asked:
        place.ear.ask(place.host.name, wish)
    for wish in asked:
        assert place.ear.end_of(wish.operation_id).state is OperationState.DONE
    taken = place.host.folder(clones[0].machine_id).root / remembers.name
    assert taken.read_bytes() == b"a boot entry"
    assert taken.stat().st_mode & 0o777 == 0o600
    ended = [wishes.later(each, power=Power.OFF, stop_mode=StopMode.FORCE) for each in (*clones, machine)]
    for each in ended:
        place.done(each)
    path = file_of(place, clones[0], clones[0].disks[0])
    assert facts(path)["virtual-size"] == 128 * MIB
    write(path, 8)
    assert holds(base, 7)
    assert all(holds(file_of(place, each, each.disks[1]), 7) for each in clones)
    assert holds(file_of(place, clones[1], clones[1].disks[0]), 7)

    # A clone's disk that is converted stands on nothing any more.
    alone, flat = with_disk(ended[0], clones[0].disks[0], origin=None)
    place.done(alone)
    assert "backing-filename" not in facts(file_of(place, alone, flat))
    assert holds(path, 8)

    held = forget(place, first.base_id)
    assert str(ended[1].machine_id) in refused(held, ErrorCode.BASE_IN_USE)
    smaller = wishes.spec(
        power=Power.OFF, disks=(disk(size_mib=32, origin=BaseOrigin(base_id=first.base_id)),)
    )
    refused(place.apply(smaller), ErrorCode.DISK_SHRINKS)
    for each in (alone, *ended[1:], smaller):
        place.delete(each)
    for base_id in (first.base_id, second.base_id):
        for _ in range(2):  # twice is harmless
            assert forget(place, base_id).state is OperationState.DONE
    assert not base.exists()
    assert not fixed_base.exists()
    assert list(place.host.state.bases.iterdir()) == []
    orphan = wishes.spec(power=Power.OFF, disks=(disk(origin=BaseOrigin(base_id=first.base_id)),))
    refused(place.apply(orphan), ErrorCode.BASE_MISSING)
    place.delete(orphan)


def forget(place: Standing, base_id: UUID) -> Progress:
    message = DoJob(operation_id=uuid4(), job=ForgetBase(base_id=base_id))
    place.ear.ask_job(place.host.name, message)
    return place.ear.end_of(message.operation_id)


@pytest.mark.parametrize("point", ["", "disk drafted", "make_disks done", "change_devices done"])
def test_a_running_machine_made_anew_has_what_its_template_has_and_only_that(
    place: Standing, point: str
) -> None:
    source = off(place, disk())
    act = frozen(source)
    place.done(wishes.later(source), act)
    [base] = act.disks
    made, other = disk(origin=BaseOrigin(base_id=base.base_id)), disk(slot=1)
    machine = place.done(wishes.spec(power=Power.OFF, run=0, memory_mib=64, disks=(made, other), nics=()))
    for each in (made, other):
        write(file_of(place, machine, each), 8)
    machine = place.done(wishes.later(machine, power=Power.RUNNING, run=1))

    machine, new = with_disk(machine, made, id=uuid4())
    wish = wishes.wish(machine := machine.model_copy(update={"run": 2, "stop_mode": StopMode.FORCE}))
    with place.host.dies_at(point) if point else nullcontext():
        place.ear.ask(place.host.name, wish)
    end = place.ear.end_of(wish.operation_id)
    assert end.state is OperationState.DONE, end
    if not point:
        assert [step.step for step in end.steps] == [
            Step.STOP, Step.MAKE_DISKS, Step.CHANGE_DEVICES, Step.LAUNCH,
        ]  # fmt: skip
    machine = place.done(wishes.later(machine, power=Power.OFF))
    assert holds(file_of(place, machine, new), 7)
    assert holds(file_of(place, machine, other), 8)
    assert not file_of(place, machine, made).exists()
    for gone in (machine, wishes.later(source)):
        place.delete(gone)
    assert forget(place, base.base_id).state is OperationState.DONE


@pytest.mark.parametrize("point", ["base noted", "disk frozen", "disk goes on", "freeze_disks done"])
def test_a_worker_killed_while_it_freezes_ends_with_one_base_a_disk(
    place: Standing, pools: dict[str, Path], point: str
) -> None:
    machine = off(place, disk(), disk(FIXED, slot=1))
    act = frozen(machine)
    operation = killed_at(place, point, wishes.later(machine), act)
    place.host.start()
    assert place.ear.end_of(operation).state is OperationState.DONE
    for each in act.disks:
        overlay = place.host.folder(machine.machine_id).root / f"{each.disk_id}.qcow2"
        assert holds(overlay, 7)
        assert str(each.base_id) in str(facts(overlay)["backing-filename"])
    assert unfinished(place, pools) == []
    assert len(list(place.host.folder(machine.machine_id).root.glob("*.raw"))) == 0
    place.delete(wishes.later(wishes.later(machine)))
    for each in act.disks:
        assert forget(place, each.base_id).state is OperationState.DONE


@pytest.mark.parametrize("point", ["base noted", "disk frozen", "disk goes on"])
def test_a_freezing_that_nobody_waits_for_is_undone(
    place: Standing, pools: dict[str, Path], point: str
) -> None:
    machine = off(place, disk(FIXED), disk(slot=1))
    killed_at(place, point, wishes.later(machine), frozen(machine))
    # Nobody's newer wish has come by the broker: it is what the worker finds when it starts.
    newer = wishes.wish(wishes.later(wishes.later(machine)))
    from workers.host import wishes as known

    assert known.accept(place.host.state, newer, gid=place.host.folder(machine.machine_id).root.stat().st_gid)
    place.host.start()
    assert place.ear.end_of(newer.operation_id).state is OperationState.DONE
    for each in machine.disks:
        assert holds(file_of(place, machine, each), 7)
        assert "backing-filename" not in facts(file_of(place, machine, each))
    assert list(place.host.state.bases.iterdir()) == []
    assert unfinished(place, pools) == []
    place.delete(newer.spec)


def test_a_running_machine_is_not_frozen_and_a_failed_freezing_leaves_all_as_it_was(
    place: Standing, pools: dict[str, Path]
) -> None:
    machine = off(place, disk(), disk(slot=1, pool="small"))
    place.done(machine := wishes.later(machine, power=Power.RUNNING, run=1))
    refused(place.apply(machine := wishes.later(machine), frozen(machine)), ErrorCode.NOT_OFF)
    place.done(machine := wishes.later(machine, power=Power.OFF, stop_mode=StopMode.FORCE))
    filler = pools["small"] / "filler"
    with filler.open("wb") as file:  # the second disk has no room for what goes on above its base
        room = os.statvfs(filler)
        os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize)
        refused(place.apply(machine := wishes.later(machine), frozen(machine)), ErrorCode.DISK_FULL)
    filler.unlink()
    assert unfinished(place, pools) == []
    assert list(place.host.state.bases.iterdir()) == []
    for each in machine.disks:
        assert holds(file_of(place, machine, each), 7)
        assert "backing-filename" not in facts(file_of(place, machine, each))
    place.delete(machine)


def test_a_copy_is_whole_and_needs_its_source_to_be_off(place: Standing, pools: dict[str, Path]) -> None:
    source_disk = disk()
    source = off(place, source_disk)
    origin = CopyOrigin(machine_id=source.machine_id, disk_id=source_disk.id)

    def copied(**fields: Any) -> MachineSpec:
        return wishes.spec(power=Power.OFF, run=0, nics=(), disks=(disk(origin=origin, **fields),))

    fixed = place.done(copied(kind=FIXED, size_mib=96))
    path = file_of(place, fixed, fixed.disks[0])
    assert holds(path, 7)
    assert taken_mib(path) >= 96
    growing = place.done(copied(pool="fast"))
    path = file_of(place, growing, growing.disks[0])
    assert holds(path, 7)
    assert "backing-filename" not in facts(path)

    place.done(source := wishes.later(source, power=Power.RUNNING, run=1))
    late = copied()
    refused(place.apply(late), ErrorCode.NOT_OFF)
    assert not file_of(place, late, late.disks[0]).exists()
    place.done(source := wishes.later(source, power=Power.OFF, stop_mode=StopMode.FORCE))
    hostile = file_of(place, source, source_disk)
    subprocess.run(("qemu-img", "rebase", "-u", "-F", "raw", "-b", "/etc/passwd", str(hostile)), check=True)
    end = place.apply(again := wishes.later(late))
    assert end.error is not None
    assert "/etc/passwd" in end.error.detail
    assert not file_of(place, late, late.disks[0]).exists()
    place.delete(source)
    refused(place.apply(again := wishes.later(again)), ErrorCode.ORIGIN_FAILED)
    for machine in (fixed, growing, again):
        place.delete(machine)
    assert unfinished(place, pools) == []


def test_a_file_that_a_guest_deletes_gives_its_room_back(place: Standing) -> None:
    growing = disk(size_mib=256)
    disc = place.host.put_disc(uuid4(), guest_disc("trimmer", kernel=WITH_EXT4))
    machine = place.done(wishes.spec(disks=(growing,), disc=disc, nics=()))
    path = file_of(place, machine, growing)
    place.host.heard(machine.machine_id, "file_written", seconds=120)
    assert taken_mib(path) > 48
    place.host.heard(machine.machine_id, "file_deleted", seconds=60)
    wait_for("its room is back", lambda: taken_mib(path) < 24, seconds=30)
    place.delete(machine)
