"""The wanted hardware against that of the living machine: what is done at once, what waits, and in which steps."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.lab import wishes
from workers.contract.acts import RevertToSnapshot
from workers.contract.messages import Step
from workers.contract.spec import (
    GIB,
    BootFrom,
    DiskBus,
    DiskKind,
    DiskSpec,
    Firmware,
    MachineSpec,
    NicModel,
    NicSpec,
)
from workers.plan.changes import Changes, after, as_started, changes
from workers.plan.ports import disk_port, nic_port, ports
from workers.plan.steps import Found, steps_for


def disk(slot: int, **changes: Any) -> DiskSpec:
    fields: dict[str, Any] = {"id": uuid4(), "size_bytes": GIB, "kind": DiskKind.GROWING, "slot": slot}
    return DiskSpec(**(fields | changes))


def card(slot: int, **changes: Any) -> NicSpec:
    fields: dict[str, Any] = {
        "network": wishes.PRIVATE,
        "mac": f"52:54:00:00:01:{slot:02x}",
        "address": IPv4Address(f"192.168.57.{100 + slot}"),
        "slot": slot,
    }
    return NicSpec(**(fields | changes))


FIRST, SECOND, OLD = disk(0), disk(1), disk(2, bus=DiskBus.SATA)
CARD, OTHER, OLD_CARD = card(0), card(1), card(2, model=NicModel.E1000)
LIVING = as_started(wishes.spec(disks=(FIRST, SECOND), nics=(CARD,), memory_mib=512, memory_most_mib=1024))


def wanted(**changes: Any) -> MachineSpec:
    return wishes.later(LIVING, **({"memory_mib": 1024} | changes))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, Changes()),
        ({"name": "new name"}, Changes()),
        ({"cpus": 4}, Changes(pending=("cpus=1",))),
        ({"firmware": Firmware.UEFI, "tpm": True}, Changes(pending=("firmware", "tpm"))),
        ({"memory_mib": 768}, Changes(memory_mib=768)),
        ({"memory_mib": 4096, "memory_most_mib": None}, Changes(pending=("memory=1024",))),
        (
            {"memory_mib": 512, "memory_most_mib": 2048},
            Changes(memory_mib=512, pending=("memory_most=1024",)),
        ),
        ({"boot_from": BootFrom.DISK}, Changes(boot=True)),
        ({"disks": (FIRST,)}, Changes(unplug_disks=(SECOND,))),
        ({"nics": ()}, Changes(unplug_nics=(CARD,))),
        ({"nics": (CARD, OTHER)}, Changes(plug_nics=(OTHER,))),
        ({"nics": (CARD, OLD_CARD)}, Changes(pending=("nic:2",))),
        ({"disks": (FIRST, SECOND, OLD)}, Changes(pending=("disk:2",))),
        (
            {"disks": (FIRST, SECOND.model_copy(update={"pool": "fast"}))},
            Changes(pending=("disk:1",)),  # it is moved when the machine is off
        ),
    ],
)
def test_what_is_done_at_once_and_what_waits(changed: dict[str, Any], expected: Changes) -> None:
    assert changes(wanted(**changed), LIVING, ports=True) == expected


def test_a_larger_disk_grows_and_a_smaller_one_is_told_apart() -> None:
    larger, smaller = (FIRST.model_copy(update={"size_bytes": size}) for size in (2 * GIB, GIB // 2))
    assert changes(wanted(disks=(larger, SECOND)), LIVING, ports=True) == Changes(grow=(larger,))
    assert changes(wanted(disks=(smaller, SECOND)), LIVING, ports=True) == Changes(shrink=(smaller,))


def test_another_disk_in_a_place_is_plugged_when_the_first_one_is_out() -> None:
    new = disk(1)
    found = changes(wanted(disks=(FIRST, new)), LIVING, ports=True)
    assert found == Changes(unplug_disks=(SECOND,), plug_disks=(new,))
    assert after(LIVING, wanted(disks=(FIRST, new)), found).disks == (FIRST, new)


def test_a_disk_in_the_place_of_one_that_stays_waits_with_it() -> None:
    living = wishes.later(LIVING, disks=(FIRST, OLD))
    new = disk(2)
    found = changes(wanted(disks=(FIRST, new)), living, ports=True)
    assert found == Changes(kept_disks=(OLD,), pending=("disk:2",))


def test_a_machine_of_an_earlier_version_has_no_ports_so_that_everything_waits() -> None:
    found = changes(wanted(disks=(FIRST,), nics=(CARD, OTHER)), LIVING, ports=False)
    assert found == Changes(kept_disks=(SECOND,), pending=("disk:1", "nic:1"))


def test_each_disk_and_card_has_a_port_of_its_own() -> None:
    found = ports()
    names = [port["id"] for port in found]
    assert len({port["addr"] for port in found}) == len(set(names)) == 24
    assert sorted(map(str, names)) == sorted(
        [nic_port(slot) for slot in range(8)] + [disk_port(slot) for slot in range(16)]
    )
    assert [port["addr"] for port in found if port.get("multifunction")] == ["0x16.0", "0x17.0", "0x18.0"]


def running(**fields: Any) -> Found:
    return Found(disks_missing=False, running_run=1, running_disc=None, ended_run=None, **fields)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (running(), ()),
        (running(changes=Changes(pending=("cpus=1",))), ()),
        (running(changes=Changes(grow=(FIRST,))), (Step.RESIZE_DISKS,)),
        (running(changes=Changes(shrink=(FIRST,))), (Step.RESIZE_DISKS,)),
        (running(disks_short=True), (Step.RESIZE_DISKS,)),
        (running(changes=Changes(plug_nics=(CARD,))), (Step.CHANGE_DEVICES,)),
        (running(changes=Changes(boot=True, memory_mib=512)), (Step.CHANGE_BOOT, Step.CHANGE_MEMORY)),
        (running(disks_left=frozenset({OLD.id})), (Step.CHANGE_DEVICES,)),
        (running(disks_left=frozenset({OLD.id}), changes=Changes(kept_disks=(OLD,))), ()),
    ],
)
def test_the_steps_of_a_running_machine(found: Found, expected: tuple[Step, ...]) -> None:
    assert steps_for(wishes.spec(), found) == expected


def test_nothing_is_plugged_or_removed_before_the_machine_is_back_at_a_snapshot() -> None:
    found = running(changes=Changes(shrink=(FIRST,), unplug_disks=(SECOND,)), disks_left=frozenset({OLD.id}))
    act = RevertToSnapshot(snapshot_id=UUID(int=1))
    expected = (Step.REVERT_TO_SNAPSHOT, Step.PREPARE_NETWORK, Step.LAUNCH)
    assert steps_for(wishes.spec(), found, act) == expected


def test_a_start_with_less_memory_than_the_most_ends_with_the_balloon() -> None:
    off = Found(disks_missing=False, running_run=None, running_disc=None, ended_run=None)
    steps = steps_for(wishes.spec(memory_mib=512, memory_most_mib=1024), off)
    assert steps == (Step.PREPARE_NETWORK, Step.LAUNCH, Step.CHANGE_MEMORY)
