"""Changing the hardware of a running machine, with a real guest that says what it sees; and what waits for its next start."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.guest.boot_sector import speaking_sector
from tests.guest.build import WITH_BALLOON, guest_disc
from tests.lab import wishes
from tests.lab.standing import Standing, standing_host
from tests.lab.waiting import wait_for
from workers.contract.acts import Reset
from workers.contract.errors import ErrorCode
from workers.contract.messages import ApplyMachine, OperationState, Progress, Step
from workers.contract.spec import (
    GIB,
    MIB,
    BootFrom,
    DiskBus,
    DiskKind,
    DiskSpec,
    MachineSpec,
    NicSpec,
    Power,
    StopMode,
)
from workers.host.living import living
from workers.host.monitor import MonitorError, MonitorLoop


@pytest.fixture(scope="module")
def place() -> Iterator[Standing]:
    """One host for the whole file."""
    with standing_host() as place:
        yield place


@pytest.fixture(scope="module")
def deaf(place: Standing) -> ApplyMachine:
    """A machine without a system, asked to give up a disk: its refusal takes half a minute, so it is asked first."""
    disks = (_disk(0), _disk(1))
    machine = place.done(wishes.spec(number=40, memory_mib=64, disks=disks))
    asked = wishes.wish(wishes.later(machine, disks=disks[:1]))
    place.ear.ask(place.host.name, asked)
    return asked


@pytest.mark.usefixtures("deaf")
def test_what_can_be_changed_while_it_runs_is_seen_by_its_guest(place: Standing) -> None:  # noqa: PLR0915  one guest's life
    host = place.host
    disc = host.put_disc(uuid4(), guest_disc("hardware", kernel=WITH_BALLOON))
    machine = wishes.spec(disc=disc, memory_mib=192, memory_most_mib=320)
    assert _steps(place, machine)[-2:] == [Step.LAUNCH, Step.CHANGE_MEMORY]
    [qemu] = [pid for pid in host.qemus() if _is(pid, machine.machine_id)]
    _sees(place, machine, "vda=1024 eth0")
    _memory(place, machine, 192)

    # A second disk and a second card; the card's network hands out its address.
    fixed = _disk(1, kind=DiskKind.FIXED, size_bytes=64 * MIB)
    machine = wishes.later(machine, disks=(*machine.disks, fixed), nics=(*machine.nics, _card(1, 20)))
    assert _steps(place, machine) == [Step.MAKE_DISKS, Step.CHANGE_DEVICES]
    _sees(place, machine, "vda=1024 vdb=64 eth0 eth1")
    wait_for(
        "the card works", lambda: host.said(machine.machine_id).get("address") == "192.168.57.20", seconds=90
    )
    assert {"ot00000a", "ot000014"} <= host.network.links()
    assert "goto from_ot000014" in host.network.rules()

    # Larger disks: the guest sees it, and the fixed one's room is reserved.
    grown = (
        machine.disks[0].model_copy(update={"size_bytes": 2 * GIB}),
        fixed.model_copy(update={"size_bytes": 96 * MIB}),
    )
    machine = wishes.later(machine, disks=grown)
    assert _steps(place, machine) == [Step.RESIZE_DISKS]
    _sees(place, machine, "vda=2048 vdb=96 eth0 eth1")
    assert host.disk_file(machine.machine_id, fixed).stat().st_blocks * 512 >= 96 * MIB

    # They never get smaller.
    small = place.apply(wishes.later(machine, disks=(machine.disks[0], fixed)))
    assert small.error is not None
    assert small.error.code is ErrorCode.DISK_SHRINKS
    machine = wishes.later(wishes.later(machine))

    # More memory at once, up to the most.
    machine = wishes.later(machine, memory_mib=256)
    assert _steps(place, machine) == [Step.CHANGE_MEMORY]
    _memory(place, machine, 256)

    # What it starts from, at the guest's own next restart.
    machine = wishes.later(machine, boot_from=BootFrom.DISK, boot_slot=1)
    assert _steps(place, machine) == [Step.CHANGE_BOOT]
    assert _ranks(place, machine) == {"disk1-device": 1, "disk0-device": 2, "disc-drive": 3}

    # What cannot be changed now waits.
    old = _disk(5, bus=DiskBus.SATA)
    machine = wishes.later(machine, cpus=2, memory_mib=512, memory_most_mib=None, disks=(*grown, old))
    assert _steps(place, machine) == [Step.MAKE_DISKS, Step.CHANGE_MEMORY]
    seen = place.ear.observed(machine.machine_id, lambda m: m.generation == machine.generation)
    assert seen.pending == ("cpus=1", "memory=320", "disk:5")

    # Pulled: the guest loses them, then the disk's file goes, and the cable of that card alone.
    machine = wishes.later(
        machine, cpus=1, memory_mib=192, memory_most_mib=320, disks=grown[:1], nics=machine.nics[:1]
    )
    assert Step.CHANGE_DEVICES in _steps(place, machine)
    _sees(place, machine, "vda=2048 eth0")
    assert not host.disk_file(machine.machine_id, fixed).exists()
    assert not host.disk_file(machine.machine_id, old).exists()
    assert "ot00000a" in host.network.links()
    assert "ot000014" not in host.network.links()
    assert "ot000014" not in host.network.rules()
    assert qemu in host.qemus()
    seen = place.ear.observed(machine.machine_id, lambda m: m.generation == machine.generation)
    assert seen.pending == ()

    # A worker that is killed with a disk half plugged finds one disk, not two, and the guest too.
    third = _disk(2, size_bytes=32 * MIB)
    heir = _card(2, 21).model_copy(update={"address": IPv4Address("192.168.57.20")})
    for point, changes, sight in (
        ("disk plugged", {"disks": (*grown[:1], third)}, "vda=2048 vdb=32 eth0"),
        (
            "card wired",
            {"disks": (*grown[:1], third), "nics": (*machine.nics, heir)},
            "vda=2048 vdb=32 eth0 eth1",
        ),
    ):
        machine = wishes.later(machine, **changes)
        _killed_at(place, machine, point)
        _sees(place, machine, sight)
    assert qemu in host.qemus()
    # The address was leased to the card that is gone, and is this one's now.
    wait_for(
        "it has the address", lambda: host.said(machine.machine_id).get("leased") == heir.mac, seconds=90
    )

    # What was plugged in is there when it has slept and woken.
    machine = place.done(wishes.later(machine, power=Power.SAVED), seconds=90)
    assert qemu not in host.qemus()
    machine = place.done(wishes.later(machine, power=Power.RUNNING), seconds=90)
    host.folder(machine.machine_id).console_log.write_bytes(b"")
    _sees(place, machine, "vda=2048 vdb=32 eth0 eth1")

    machine = wishes.later(machine, disks=grown[:1])
    _killed_at(place, machine, "disk pulled")
    _sees(place, machine, "vda=2048 eth0 eth1")
    assert not host.disk_file(machine.machine_id, third).exists()

    # From its next start on everything is as wanted, and at the same place.
    machine = wishes.later(machine, run=2, cpus=2, stop_mode=StopMode.FORCE, boot_from=BootFrom.DISC)
    place.done(machine, seconds=90)
    seen = place.ear.observed(machine.machine_id, lambda m: m.generation == machine.generation)
    assert seen.pending == ()
    place.delete(machine)


def test_it_starts_from_the_first_disk_of_its_order_and_after_a_change_from_the_other(
    place: Standing,
) -> None:
    """Two disks that start, each of which says its name."""
    disks = tuple(_disk(slot, kind=DiskKind.FIXED, size_bytes=MIB) for slot in (0, 1))
    machine = place.done(wishes.spec(power=Power.OFF, run=0, memory_mib=64, disks=disks, nics=()))
    for disk in disks:
        with place.host.disk_file(machine.machine_id, disk).open("r+b") as file:
            file.write(speaking_sector(f"OFFSHOOT disk {disk.slot}"))
    machine = wishes.later(machine, power=Power.RUNNING, run=1, boot_from=BootFrom.DISK, boot_slot=1)
    place.done(machine)
    _started_from(place, machine, 1)
    machine = place.done(wishes.later(machine), Reset())
    _started_from(place, machine, 1, 1)

    # Changed while it runs: nothing happens yet, its next restart is from the other one.
    machine = wishes.later(machine, boot_slot=0)
    assert _steps(place, machine) == [Step.CHANGE_BOOT]
    _started_from(place, machine, 1, 1)
    machine = place.done(wishes.later(machine), Reset())
    _started_from(place, machine, 1, 1, 0)

    # The next start of its machine too follows a change that was made while it ran; an empty drive is passed over.
    machine = place.done(wishes.later(machine, boot_from=BootFrom.DISC, boot_slot=1))
    machine = place.done(wishes.later(machine, run=2, stop_mode=StopMode.FORCE))
    _started_from(place, machine, 1, 1, 0, 1)
    place.delete(machine)


def test_a_disk_is_made_larger_and_removed_while_the_machine_is_off(place: Standing) -> None:
    disks = (_disk(0), _disk(1, kind=DiskKind.FIXED, size_bytes=16 * MIB), _disk(2))
    machine = place.done(wishes.spec(power=Power.OFF, run=0, disks=disks))
    files = [place.host.disk_file(machine.machine_id, disk) for disk in disks]
    grown = (
        disks[0].model_copy(update={"size_bytes": 3 * GIB}),
        disks[1].model_copy(update={"size_bytes": 32 * MIB}),
    )
    machine = wishes.later(machine, disks=grown)
    assert _steps(place, machine) == [Step.RESIZE_DISKS, Step.CHANGE_DEVICES]
    assert int.from_bytes(files[0].read_bytes()[24:32], "big") == 3 * GIB
    assert files[1].stat().st_size == 32 * MIB
    assert files[1].stat().st_blocks * 512 >= 32 * MIB
    assert stat.S_IMODE(files[1].stat().st_mode) == 0o600
    assert not files[2].exists()

    # No room: said at once, and the disk is as it was.
    huge = (grown[0], grown[1].model_copy(update={"size_bytes": 8 * 1024 * GIB}))
    end = place.apply(wishes.later(machine, disks=huge))
    assert end.error is not None
    assert end.error.code is ErrorCode.DISK_FULL
    assert files[1].stat().st_size == 32 * MIB
    place.delete(wishes.later(wishes.later(machine)))


def test_a_system_that_does_not_let_go_of_its_disk_keeps_it(place: Standing, deaf: ApplyMachine) -> None:
    end = place.ear.end_of(deaf.operation_id, seconds=90)
    assert end.error is not None
    assert end.error.code is ErrorCode.HARDWARE_REFUSED
    kept = living(place.host.folder(deaf.spec.machine_id))
    assert kept is not None
    assert all(place.host.disk_file(deaf.spec.machine_id, disk).exists() for disk in kept.spec.disks)
    assert len(kept.spec.disks) == 2

    # Its restart takes the disk out after all: that is noted, and with the next wish that has it it is plugged in again.
    _execute(place, deaf.spec, ("system_reset", {}))
    wait_for("the disk is out", lambda: len(_living_disks(place, deaf.spec)) == 1, seconds=60)
    again = wishes.later(deaf.spec, disks=kept.spec.disks)
    assert _steps(place, again) == [Step.CHANGE_DEVICES]
    assert _living_disks(place, again) == kept.spec.disks
    place.delete(again)


def _disk(slot: int, **changes: Any) -> DiskSpec:
    fields: dict[str, Any] = {"id": uuid4(), "size_bytes": GIB, "kind": DiskKind.GROWING, "slot": slot}
    return DiskSpec(**(fields | changes))


def _card(slot: int, number: int) -> NicSpec:
    address = IPv4Address(f"192.168.57.{number}")
    return NicSpec(network=wishes.PRIVATE, mac=f"52:54:00:00:00:{number:02x}", address=address, slot=slot)


def _steps(place: Standing, machine: MachineSpec) -> list[Step]:
    end: Progress = place.apply(machine, seconds=90)
    assert end.state is OperationState.DONE, (end, place.host.words()[-3000:])
    return [step.step for step in end.steps]


def _started_from(place: Standing, machine: MachineSpec, *slots: int) -> None:
    """The disks that it has started from so far, each start by the words of that disk, are these."""
    log = place.host.folder(machine.machine_id).console_log

    def starts() -> tuple[int, ...]:
        words = log.read_text(errors="replace") if log.exists() else ""
        return tuple(int(slot) for slot in re.findall(r"OFFSHOOT disk (\d)", words))

    wait_for(f"{len(slots)} starts", lambda: len(starts()) >= len(slots), seconds=60)
    assert starts() == slots


def _killed_at(place: Standing, machine: MachineSpec, point: str) -> None:
    """The wish is carried out by a worker that dies there, and by the one after it."""
    host = place.host
    host.kill()
    host.set(OFFSHOOT_DIE_AT=point)
    host.start()
    asked = wishes.wish(machine)
    place.ear.ask(host.name, asked)
    host.wait_for_death()
    host.set(OFFSHOOT_DIE_AT="")
    host.start()
    end = place.ear.end_of(asked.operation_id, seconds=90)
    assert end.state is OperationState.DONE, (point, end, host.words()[-3000:])


def _sees(place: Standing, machine: MachineSpec, hardware: str) -> None:
    said = place.host.said
    try:
        wait_for(
            f"the guest sees {hardware}",
            lambda: said(machine.machine_id).get("hardware") == hardware,
            seconds=90,
        )
    except AssertionError as exc:
        raise AssertionError(f"{exc}; it said {said(machine.machine_id)}") from exc


def _memory(place: Standing, machine: MachineSpec, mib: int) -> None:
    """The guest has some less (its kernel's own), and the host is told how much is left to it."""
    place.ear.observed(machine.machine_id, lambda m: m.memory_now_mib == mib)
    wait_for(
        f"the guest has {mib} MiB",
        lambda: mib - 64 < int(place.host.said(machine.machine_id)["memory"]) <= mib,
        seconds=60,
    )


def _living_disks(place: Standing, machine: MachineSpec) -> tuple[DiskSpec, ...]:
    now = living(place.host.folder(machine.machine_id))
    assert now is not None
    return now.spec.disks


def _ranks(place: Standing, machine: MachineSpec) -> dict[str, object]:
    names = ("disk1-device", "disk0-device", "disc-drive")
    questions = [
        ("qom-get", {"path": f"/machine/peripheral/{name}", "property": "bootindex"}) for name in names
    ]
    return dict(zip(names, _execute(place, machine, *questions), strict=True))


def _execute(place: Standing, machine: MachineSpec, *commands: tuple[str, dict[str, Any]]) -> list[Any]:
    """What the living machine's monitor answers. It has room for one, so this waits its turn."""
    loop = MonitorLoop()

    def answers() -> list[Any] | None:
        try:
            return loop.execute(place.host.folder(machine.machine_id).qmp_socket, *commands)
        except MonitorError:
            return None

    try:
        return wait_for("the monitor answers", answers, seconds=20)
    finally:
        loop.close()
        loop.loop.close()


def _is(pid: int, machine_id: UUID) -> bool:
    return str(machine_id).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
