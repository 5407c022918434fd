"""A machine's life with a real guest in it: installed, shut down, started, restarted, cut off; and who shares its network."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.guest.build import OLD_HARDWARE, guest_disc
from tests.lab import wishes
from tests.lab.standing import Standing, standing_host
from tests.lab.waiting import wait_for
from workers.contract.errors import ErrorCode
from workers.contract.messages import EndReason, Observed, OperationState, Step
from workers.contract.spec import BootFrom, DiskBus, MachineSpec, NicModel, Power, StopMode
from workers.host.locks import is_held
from workers.plan.names import bridge_name


@pytest.fixture(scope="module")
def place() -> Iterator[Standing]:
    """One host for the whole file."""
    with standing_host() as place:
        yield place


def test_from_the_installation_to_a_forced_off(place: Standing) -> None:
    host = place.host
    disc = host.put_disc(uuid4(), guest_disc("idle"))
    machine = place.done(wishes.spec(disc=disc))
    host.heard(machine.machine_id, "ready")
    [qemu] = host.qemus()
    assert _in_drive(place, machine) == f"{disc.image_id}.iso"

    # 'The installation is finished': the drive is empty, the machine goes on.
    end = place.apply(machine := wishes.later(machine, disc=None, boot_from=BootFrom.DISK))
    assert (end.state, [step.step for step in end.steps]) == (
        OperationState.DONE,
        [Step.CHANGE_DISC, Step.CHANGE_BOOT],
    )
    assert _in_drive(place, machine) is None
    assert host.qemus() == [qemu]

    # Another disc goes in while it runs.
    other = host.put_disc(uuid4(), guest_disc("idle"))
    end = place.apply(machine := wishes.later(machine, disc=other, boot_from=BootFrom.DISC))
    assert [step.step for step in end.steps] == [Step.FETCH_DISC, Step.CHANGE_DISC, Step.CHANGE_BOOT]
    assert _in_drive(place, machine) == f"{other.image_id}.iso"
    assert host.qemus() == [qemu]

    # Restart: the guest is asked, then there is a new qemu, and the guest comes up again.
    end = place.apply(machine := wishes.later(machine, run=2))
    assert end.state is OperationState.DONE, host.words()[-2000:]
    assert host.said(machine.machine_id)["button"] == "pressed"
    [second] = host.qemus()
    assert second != qemu
    wait_for("the guest is up again", lambda: _boots(place, machine) == 2, seconds=60)

    # The worker is restarted: the machine is not.
    host.stop()
    assert host.qemus() == [second]
    host.start()
    beat = place.ear.heartbeat(host.name)
    after = place.ear.heartbeat(host.name, since=beat.sequence)
    assert [(m.machine_id, m.power) for m in after.machines] == [(machine.machine_id, Observed.RUNNING)]
    assert host.qemus() == [second]

    # Shut down, by the worker that did not start it.
    place.done(machine := wishes.later(machine, power=Power.OFF, stop_mode=StopMode.ASK))
    assert host.qemus() == []
    assert host.network.links() == set()
    seen = place.ear.observed(machine.machine_id, lambda m: m.generation == machine.generation)
    assert (seen.power, seen.reason) == (Observed.OFF, EndReason.PERSON)

    # Started and cut off: the guest is not asked.
    place.done(machine := wishes.later(machine, power=Power.RUNNING, run=3))
    pressed = _said(place, machine).count("button pressed")
    place.done(machine := wishes.later(machine, power=Power.OFF, stop_mode=StopMode.FORCE), seconds=10)
    assert host.qemus() == []
    assert _said(place, machine).count("button pressed") == pressed == 2
    place.delete(machine)


def test_a_wish_to_be_off_makes_the_disk_and_starts_nothing(place: Standing) -> None:
    machine = place.done(wishes.spec(power=Power.OFF, run=0))
    assert place.host.disk_file(machine.machine_id, machine.disks[0]).exists()
    assert place.traces() == {}
    seen = place.ear.observed(machine.machine_id, lambda m: m.power is Observed.OFF)
    assert seen.reason is EndReason.NEVER_STARTED
    place.delete(machine)


def test_asking_a_guest_that_does_not_listen_is_ended_by_a_force_off(place: Standing) -> None:
    machine = place.done(wishes.spec(memory_mib=64))  # only a firmware, which knows no power button
    asked = wishes.wish(wishes.later(machine, power=Power.OFF, stop_mode=StopMode.ASK))
    place.ear.ask(place.host.name, asked)
    wait_for("it is being asked", lambda: place.ear.progress(asked.operation_id))
    forced = wishes.later(asked.spec, stop_mode=StopMode.FORCE)
    place.done(forced, seconds=15)
    assert place.ear.end_of(asked.operation_id).state is OperationState.SUPERSEDED
    assert place.host.qemus() == []
    place.delete(forced)


def test_a_guest_that_ignores_the_power_button_runs_on_and_its_later_end_is_no_shutdown() -> None:
    with standing_host(OFFSHOOT_ASK_SECONDS="2") as place:
        machine = place.done(wishes.spec(memory_mib=64))
        [qemu] = place.host.qemus()
        begun = time.monotonic()
        end = place.apply(machine := wishes.later(machine, power=Power.OFF, stop_mode=StopMode.ASK))
        assert time.monotonic() - begun > 2
        assert end.error is not None
        assert (end.state, end.error.code) == (OperationState.FAILED, ErrorCode.GUEST_IGNORED_SHUTDOWN)
        seen = place.ear.observed(machine.machine_id, lambda m: m.generation == machine.generation)
        assert (seen.power, seen.reason) == (Observed.RUNNING, None)
        assert place.host.qemus() == [qemu]

        os.kill(qemu, 9)
        # What it was asked for once is no reason any more.
        ended = (Observed.OFF, EndReason.CRASH)
        place.ear.observed(machine.machine_id, lambda m: (m.power, m.reason) == ended)


def test_machines_of_one_network_share_its_bridge_and_the_last_takes_it_away(place: Standing) -> None:
    network = place.host.network
    first = place.done(wishes.spec(number=10, memory_mib=64))
    [dnsmasq] = place.dnsmasqs()
    second = place.done(wishes.spec(number=11, memory_mib=64))
    bridge = bridge_name(wishes.PRIVATE.id)
    assert network.links() == {bridge, "ot00000a", "ot00000b"}
    ports = network.inside("ip", "-o", "link", "show", "master", bridge).splitlines()
    assert sorted(line.split(": ")[1] for line in ports) == ["ot00000a", "ot00000b"]
    assert place.dnsmasqs() == [dnsmasq]
    leases = (place.host.state.network(wishes.PRIVATE.id) / "dnsmasq.hosts").read_text()
    assert leases == "52:54:00:00:00:0a,192.168.57.10\n52:54:00:00:00:0b,192.168.57.11\n"

    place.delete(first)
    assert network.links() == {bridge, "ot00000b"}
    assert "ot00000a" not in network.rules()
    assert place.dnsmasqs() == [dnsmasq]
    place.delete(second)
    assert place.traces() == {}


def test_the_emulated_hardware_of_old_systems_boots_its_guest_which_gets_its_address(
    place: Standing,
) -> None:
    base = wishes.spec(disc=place.host.put_disc(uuid4(), guest_disc("address", kernel=OLD_HARDWARE)))
    machine = place.done(
        base.model_copy(
            update={
                "disks": (base.disks[0].model_copy(update={"bus": DiskBus.SATA}),),
                "nics": (base.nics[0].model_copy(update={"model": NicModel.E1000}),),
            }
        )
    )
    assert place.host.heard(machine.machine_id, "address", seconds=90) == "192.168.57.10"
    assert place.host.said(machine.machine_id)["disks"] == "1"
    place.ear.observed(machine.machine_id, lambda m: m.nics[0].leased_address == "192.168.57.10")
    place.delete(machine)
    assert not is_held(place.host.folder(machine.machine_id).life_lock)


def _in_drive(place: Standing, machine: MachineSpec) -> str | None:
    """The file in the drive, None where it is empty, as qemu itself says."""
    drives = place.query(machine.machine_id, "query-block")
    assert isinstance(drives, list)
    [drive] = [each for each in drives if each["qdev"] == "disc-drive"]
    assert not drive.get("tray_open", False)
    return drive["inserted"]["image"]["filename"].rsplit("/", 1)[1] if "inserted" in drive else None


def _said(place: Standing, machine: MachineSpec) -> str:
    return place.host.folder(machine.machine_id).console_log.read_text(errors="replace")


def _boots(place: Standing, machine: MachineSpec) -> int:
    return _said(place, machine).count("OFFSHOOT ready")
