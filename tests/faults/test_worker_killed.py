"""The host's worker is killed at each step of making a machine; started again it ends with one machine, whole."""

from __future__ import annotations

import os
from uuid import uuid4

import pytest

from tests.guest.build import guest_disc
from tests.lab import wishes
from tests.lab.broker import PortalsEar
from tests.lab.host import LabHost
from tests.lab.waiting import wait_for
from workers.contract.messages import EndReason, Heartbeat, MachineObserved, Observed, OperationState
from workers.contract.spec import DiskKind, Power, SeedSpec, StopMode
from workers.contract.spec import DiskSpec as Disk
from workers.host.locks import is_held
from workers.killpoints import KILL_POINTS


@pytest.mark.parametrize("point", KILL_POINTS)
def test_killed_at_any_step_of_creating_it_ends_with_one_running_machine(
    host: LabHost, ear: PortalsEar, point: str
) -> None:
    host.kill()
    host.set(OFFSHOOT_DIE_AT=point)
    host.start()
    disks = (
        Disk(id=uuid4(), size_bytes=64 * 1024 * 1024, kind=DiskKind.GROWING),
        Disk(id=uuid4(), size_bytes=64 * 1024 * 1024, kind=DiskKind.FIXED, slot=1),
    )
    disc = host.put_disc(uuid4(), guest_disc("idle"))
    seed = SeedSpec(user="ann", host_name="box")
    machine = wishes.spec(disks=disks, memory_mib=64, disc=disc, seed=seed)
    wish = wishes.wish(machine)
    ear.ask(host.name, wish)
    host.wait_for_death()
    host.set(OFFSHOOT_DIE_AT="")
    host.start()

    assert ear.end_of(wish.operation_id).state is OperationState.DONE, host.words()[-3000:]
    ear.observed(machine.machine_id, lambda m: m.power is Observed.RUNNING)
    assert_one_of_everything(host, machine.machine_id.hex, disks=2)


def assert_one_of_everything(host: LabHost, machine_hex: str, *, disks: int) -> None:
    assert len(host.qemus()) == 1
    assert sorted(name[:2] for name in host.network.links()) == ["ob", "ot"]
    [machine_folder] = host.state.machines.glob("*/")
    assert len([p for p in machine_folder.iterdir() if p.suffix in (".qcow2", ".raw")]) == disks
    assert not list(machine_folder.glob("*.part"))
    assert (machine_folder / "seed.iso").exists()
    assert host.network.rules().count("goto from_ot") == 1


def test_a_machine_outlives_its_worker_and_is_found_again(host: LabHost, ear: PortalsEar) -> None:
    machine = wishes.spec(disc=host.put_disc(uuid4(), guest_disc("idle")), memory_mib=256)
    wish = wishes.wish(machine)
    ear.ask(host.name, wish)
    assert ear.end_of(wish.operation_id).state is OperationState.DONE
    [qemu] = host.qemus()

    host.stop()
    assert host.qemus() == [qemu]
    host.start()
    host.heard(machine.machine_id, "ready")
    host.kill()
    assert host.qemus() == [qemu]
    host.start()
    beat = ear.heartbeat(host.name)
    after = ear.heartbeat(host.name, since=beat.sequence)
    assert [m.power for m in after.machines] == [Observed.RUNNING]
    assert host.qemus() == [qemu]

    # The worker that did not start it can still shut it down.
    off = wishes.wish(wishes.later(machine, power=Power.OFF, stop_mode=StopMode.ASK))
    ear.ask(host.name, off)
    assert ear.end_of(off.operation_id, seconds=90).state is OperationState.DONE, host.words()[-2000:]
    assert host.qemus() == []


def test_a_machine_that_ends_while_no_worker_looks_is_told_and_not_started_again(
    host: LabHost, ear: PortalsEar
) -> None:
    machine = wishes.spec(memory_mib=64)
    wish = wishes.wish(machine)
    ear.ask(host.name, wish)
    assert ear.end_of(wish.operation_id).state is OperationState.DONE
    [qemu] = host.qemus()
    host.kill()
    os.kill(qemu, 9)
    lock = host.folder(machine.machine_id).life_lock
    wait_for("qemu is gone", lambda: not is_held(lock))
    host.start()
    ear.observed(machine.machine_id, lambda m: (m.power, m.reason) == (Observed.OFF, EndReason.UNSEEN))
    assert host.qemus() == []
    wait_for("its cables are pulled", lambda: host.network.links() == set())


def test_a_crash_is_told_by_itself_before_any_heartbeat_with_its_signal_and_last_words(
    host: LabHost, ear: PortalsEar
) -> None:
    machine = wishes.spec(memory_mib=64)
    wish = wishes.wish(machine)
    ear.ask(host.name, wish)
    assert ear.end_of(wish.operation_id).state is OperationState.DONE
    [qemu] = host.qemus()
    with host.folder(machine.machine_id).qemu_log.open("a") as log:
        log.write("the last words\n")
    beat = ear.heartbeat(host.name, since=ear.heartbeat(host.name).sequence)  # the next one is 3 s away
    os.kill(qemu, 9)
    seen = wait_for(
        "its end is told", lambda: _first_to_say_off(ear, since=beat.sequence), seconds=10, pause=0.01
    )
    assert isinstance(seen, MachineObserved), "a heartbeat said it first"
    assert seen.reason is EndReason.CRASH
    assert seen.exit_detail.startswith("signal SIGKILL\n")
    assert seen.exit_detail.endswith("the last words")
    assert seen.under_the_hood is not None
    assert "the last words" in seen.under_the_hood.qemu_log


def _first_to_say_off(ear: PortalsEar, *, since: int) -> MachineObserved | Heartbeat | None:
    """The first report that was made after `since` (a sequence) and says that a machine is off."""
    for report in ear.reports():
        machines = report.machines if isinstance(report, Heartbeat) else (report,)
        seen = [m for m in machines if isinstance(m, MachineObserved) and m.sequence > since]
        if isinstance(report, MachineObserved | Heartbeat) and any(m.power is Observed.OFF for m in seen):
            return report
    return None


def test_a_guest_that_powers_itself_off_is_off_by_its_own_wish(host: LabHost, ear: PortalsEar) -> None:
    machine = wishes.spec(disc=host.put_disc(uuid4(), guest_disc("poweroff")), memory_mib=256)
    wish = wishes.wish(machine)
    ear.ask(host.name, wish)
    assert ear.end_of(wish.operation_id).state is OperationState.DONE
    ended = (Observed.OFF, EndReason.GUEST)
    ear.observed(machine.machine_id, lambda m: (m.power, m.reason) == ended, seconds=60)
    wait_for("its cables are pulled", lambda: host.network.links() == set())
    # The wish says running still; asked for the same again, nothing starts.
    again = wishes.wish(machine)
    ear.ask(host.name, again)
    assert ear.end_of(again.operation_id).steps == ()
    assert host.qemus() == []


def test_applying_twice_changes_nothing_and_an_older_wish_undoes_nothing(
    host: LabHost, ear: PortalsEar
) -> None:
    machine = wishes.spec(memory_mib=64)
    first, second = wishes.wish(machine), wishes.wish(machine)
    for wish in (first, second):
        ear.ask(host.name, wish)
        assert ear.end_of(wish.operation_id).state is OperationState.DONE
    [qemu] = host.qemus()
    newer = wishes.wish(wishes.later(machine, name="renamed"))
    ear.ask(host.name, newer)
    assert ear.end_of(newer.operation_id).state is OperationState.DONE
    older = wishes.wish(machine.model_copy(update={"power": Power.OFF, "stop_mode": StopMode.FORCE}))
    ear.ask(host.name, older)
    assert ear.end_of(older.operation_id).state is OperationState.SUPERSEDED
    assert host.qemus() == [qemu]


def test_a_deleted_machine_leaves_nothing_and_no_late_message_brings_it_back(
    host: LabHost, ear: PortalsEar
) -> None:
    machine = wishes.spec(memory_mib=64)
    wish = wishes.wish(machine)
    ear.ask(host.name, wish)
    assert ear.end_of(wish.operation_id).state is OperationState.DONE
    gone = wishes.wish(wishes.later(machine, power=Power.GONE, stop_mode=StopMode.FORCE))
    ear.ask(host.name, gone)
    assert ear.end_of(gone.operation_id).state is OperationState.DONE
    ear.observed(machine.machine_id, lambda m: m.power is Observed.GONE)
    assert host.qemus() == []
    assert host.network.links() == set()
    assert "offshoot" not in host.network.rules()
    assert list(host.state.machines.glob("*/")) == []
    assert list(host.state.networks.glob("*/")) == []
    late = wishes.wish(machine)
    ear.ask(host.name, late)
    assert ear.end_of(late.operation_id).state is OperationState.SUPERSEDED
    assert host.qemus() == []


def test_the_emulated_hardware_of_old_systems_starts_and_a_forced_off_is_at_once(
    host: LabHost, ear: PortalsEar
) -> None:
    from workers.contract.spec import DiskBus, NicModel

    base = wishes.spec(memory_mib=256)
    old = base.model_copy(
        update={
            "disks": (base.disks[0].model_copy(update={"bus": DiskBus.SATA}),),
            "nics": (base.nics[0].model_copy(update={"model": NicModel.E1000}),),
        }
    )
    wish = wishes.wish(old)
    ear.ask(host.name, wish)
    assert ear.end_of(wish.operation_id).state is OperationState.DONE, host.words()[-2000:]
    off = wishes.wish(wishes.later(old, power=Power.OFF, stop_mode=StopMode.FORCE))
    ear.ask(host.name, off)
    assert ear.end_of(off.operation_id, seconds=10).state is OperationState.DONE
    assert host.qemus() == []
