"""A host that is slow, was restarted, or finds a file that it cannot read: its machines come through."""

from __future__ import annotations

import json
import os
import signal
from uuid import uuid4

from tests.guest.build import guest_disc
from tests.lab import wishes
from tests.lab.broker import PortalsEar
from tests.lab.host import LabHost
from tests.lab.waiting import wait_for
from workers.contract.errors import ErrorCode
from workers.contract.messages import ApplyMachine, EndReason, Observed, OperationState
from workers.contract.spec import Autostart, Power, StopMode
from workers.host.locks import is_held


def test_a_machine_whose_monitor_is_silent_lives_on_and_only_force_off_ends_it(
    host: LabHost, ear: PortalsEar
) -> None:
    machine = _running(host, ear)
    [qemu] = host.qemus()
    os.kill(qemu, signal.SIGSTOP)
    renamed = wishes.wish(wishes.later(machine.spec, name="another name"))
    ear.ask(host.name, renamed)
    end = ear.end_of(renamed.operation_id, seconds=60)
    assert (end.state, end.error and end.error.code) == (OperationState.FAILED, ErrorCode.MONITOR_FAILED)
    assert host.qemus() == [qemu]

    off = wishes.wish(wishes.later(renamed.spec, power=Power.OFF, stop_mode=StopMode.FORCE))
    ear.ask(host.name, off)
    assert ear.end_of(off.operation_id, seconds=90).state is OperationState.DONE
    assert host.qemus() == []


def test_after_the_hosts_reboot_runs_what_ran_also_where_the_last_wish_had_failed(
    host: LabHost, ear: PortalsEar
) -> None:
    machine = _running(host, ear)
    damaged = host.put_disc(uuid4(), guest_disc("idle")).model_copy(
        update={"sha256": "0" * 64, "image_id": uuid4()}
    )
    insert = wishes.wish(wishes.later(machine.spec, disc=damaged))
    ear.ask(host.name, insert)
    assert ear.end_of(insert.operation_id).state is OperationState.FAILED

    _reboot(host, machine)
    host.start()
    wait_for("it runs again", lambda: len(host.qemus()) == 1, seconds=60)


def test_after_the_hosts_reboot_starts_what_always_shall_and_what_never_shall_stays_off(
    host: LabHost, ear: PortalsEar
) -> None:
    never = _running(host, ear, number=10, autostart=Autostart.NEVER)
    always = wishes.wish(
        wishes.spec(number=11, memory_mib=64, power=Power.OFF, run=0, autostart=Autostart.ALWAYS)
    )
    paused = _running(host, ear, number=12)
    paused = wishes.wish(wishes.later(paused.spec, power=Power.PAUSED))
    for wish in (always, paused):
        ear.ask(host.name, wish)
        assert ear.end_of(wish.operation_id).state is OperationState.DONE

    # A worker's restart is no reboot.
    host.stop()
    host.start()
    since = ear.heartbeat(host.name).sequence
    ear.heartbeat(host.name, since=since)
    assert len(host.qemus()) == 2

    since = ear.heartbeat(host.name, since=since).sequence
    _reboot(host, never, paused)
    host.state.boot_file.write_text("an earlier one")
    host.start()
    for machine_id in (always.spec.machine_id, paused.spec.machine_id):
        ear.observed(machine_id, lambda m: m.power is Observed.RUNNING and m.run == 1 and m.sequence > since)
        assert is_held(host.folder(machine_id).life_lock)
    stays = (Observed.OFF, EndReason.HOST)
    ear.observed(never.spec.machine_id, lambda m: (m.power, m.reason) == stays)
    assert len(host.qemus()) == 2
    # Whatever else is wished of it, it stays off.
    renamed = wishes.wish(wishes.later(never.spec, name="another name"))
    ear.ask(host.name, renamed)
    assert ear.end_of(renamed.operation_id).steps == ()


def test_a_failure_is_told_again_and_not_tried_again_when_its_message_comes_twice(
    host: LabHost, ear: PortalsEar
) -> None:
    lost = host.put_disc(uuid4(), guest_disc("idle")).model_copy(update={"image_id": uuid4()})
    create = wishes.wish(wishes.spec(memory_mib=64, disc=lost))
    ear.ask(host.name, create)
    assert ear.end_of(create.operation_id).state is OperationState.FAILED
    (host.state.images / f"{lost.image_id}.iso").write_bytes(guest_disc("idle").read_bytes())

    ear.ask(host.name, create)
    wait_for("it is told again", lambda: "carried out already" in host.words(), seconds=20)
    assert host.qemus() == []
    again = ApplyMachine(operation_id=uuid4(), spec=create.spec)
    ear.ask(host.name, again)
    assert ear.end_of(again.operation_id).state is OperationState.DONE


def test_a_file_that_cannot_be_read_silences_neither_the_host_nor_its_other_machines(
    host: LabHost, ear: PortalsEar
) -> None:
    machine = _running(host, ear)
    folder = host.folder(machine.spec.machine_id)
    host.kill()
    folder.handled_file.write_text('{"version": 99, "body": {}}')
    folder.ended_file.write_text("{}")
    since = ear.heartbeat(host.name).sequence
    host.start()
    beat = ear.heartbeat(host.name, since=since)
    assert [each.machine_id for each in beat.machines] == [machine.spec.machine_id]
    assert len(host.qemus()) == 1


def _running(host: LabHost, ear: PortalsEar, **changes: object) -> ApplyMachine:
    wish = wishes.wish(wishes.spec(memory_mib=64, **changes))
    ear.ask(host.name, wish)
    assert ear.end_of(wish.operation_id).state is OperationState.DONE
    ear.observed(wish.spec.machine_id, lambda m: m.power is Observed.RUNNING)
    return wish


def _reboot(host: LabHost, *machines: ApplyMachine) -> None:
    """What a reboot leaves: no worker, no qemu, and a record of another boot."""
    host.kill()
    for pid in host.qemus():
        os.kill(pid, signal.SIGKILL)
    wait_for("qemu is gone", lambda: not host.qemus(), seconds=10)
    for machine in machines:
        record = host.folder(machine.spec.machine_id).launched_file
        record.write_text(json.dumps(json.loads(record.read_text()) | {"boot": "an earlier one"}))
