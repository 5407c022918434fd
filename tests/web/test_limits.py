"""Limits as the portal sees them: what is asked of the host, what is refused at its field, and what the rows say in the end."""

from __future__ import annotations

import re
from typing import Any

import pytest

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.machines import reports, snapshots
from portal.machines.cloning import machine_clone
from portal.machines.limits import CardLimits, DiskLimits, machine_change_limits
from portal.machines.models import Machine, Nic
from portal.machines.specs import spec_of
from portal.refusal import Refused
from tests.web import people
from tests.web.people import signed_in
from workers.contract.errors import ErrorCode
from workers.contract.host import BANDWIDTH_IN_FEATURE, BANDWIDTH_OUT_FEATURE, CPU_WEIGHT_FEATURE
from workers.contract.messages import ApplyMachine, ErrorReport, Observed, OperationState
from workers.contract.spec import MachineSpec, Power
from workers.contract.version import from_wire

NO_DISK, NO_CARD = DiskLimits(None, None), CardLimits(None, None)


def asked(operation: Operation) -> MachineSpec:
    """What the host is asked to make of the machine."""
    return from_wire(ApplyMachine, operation.message).spec


def limit(
    machine: Machine, weight: int = 100, disk: DiskLimits = NO_DISK, card: CardLimits = NO_CARD
) -> Operation:
    return machine_change_limits(
        machine=machine,
        cpu_weight=weight,
        disks={machine.disks.get().pk: disk},
        cards={machine.nics.get().pk: card},
        by=machine.owner,
    )


def limits_of(spec: MachineSpec) -> tuple[object, ...]:
    [disk], [nic] = spec.disks, spec.nics
    return (spec.cpu_weight, disk.iops, disk.mib_per_second, nic.mbit_in, nic.mbit_out)


def end(operation: Operation, state: OperationState = OperationState.DONE) -> None:
    is_failed = state is OperationState.FAILED
    error = ErrorReport(code=ErrorCode.LIMIT_FAILED, detail="ot00000a") if is_failed else None
    assert reports.progress_take(people.told(operation, state, error=error))


def host_lacks(*features: str) -> None:
    people.host_heard(facts=people.facts().model_copy(update={"missing_features": features}))


def fields_of(machine: Machine, **changes: Any) -> dict[str, Any]:
    """The form as it is sent for this machine: the disk's and card's fields by their beginnings."""
    disk, nic = machine.disks.get(), machine.nics.get()
    typed: dict[str, Any] = {"share": "normal", "weight": "", "iops": "", "mib": "", "in": "", "out": ""}
    typed |= {name.rstrip("_"): value for name, value in changes.items()}
    ids = {"iops": disk.pk, "mib": disk.pk, "in": nic.pk, "out": nic.pk}
    return {f"{name}-{ids[name]}" if name in ids else name: value for name, value in typed.items()}


def test_limits_are_asked_of_the_host_in_one_operation_and_taken_away_again(running: Machine) -> None:
    operation = limit(running, 50, DiskLimits(100, 20), CardLimits(30, 10))
    assert operation.kind == Kind.CHANGE
    assert limits_of(asked(operation)) == (50, 100, 20, 30, 10)
    end(operation)
    running.refresh_from_db()
    assert limits_of(spec_of(running)) == (50, 100, 20, 30, 10)
    assert limits_of(asked(limit(running))) == (100, None, None, None, None)


def test_the_same_again_is_refused(running: Machine) -> None:
    with pytest.raises(Refused, match="so already"):
        limit(running)


@pytest.mark.parametrize("observed", [Observed.OFF, Observed.PAUSED])
def test_limits_are_for_machines_that_are_off_or_paused_too(running: Machine, observed: Observed) -> None:
    people.done(running, observed)
    assert limits_of(asked(limit(running, 200)))[0] == 200


def test_a_hibernated_machine_and_one_that_is_just_starting_wait(running: Machine) -> None:
    people.done(running, Observed.SAVED)
    with pytest.raises(Refused, match="hibernated"):
        limit(running, 200)
    assert running.operations.filter(kind=Kind.CHANGE).count() == 0


def test_what_is_not_named_keeps_its_limits(running: Machine) -> None:
    end(limit(running, 50, DiskLimits(100, None), CardLimits(None, 10)))
    operation = machine_change_limits(machine=running, cpu_weight=70, disks={}, cards={}, by=running.owner)
    assert limits_of(asked(operation)) == (70, 100, None, None, 10)


def test_limits_that_could_not_be_set_are_taken_back(running: Machine) -> None:
    end(limit(running, 50, DiskLimits(100, None), CardLimits(None, 10)))
    end(limit(running, 60, DiskLimits(None, 7), CardLimits(8, None)), OperationState.FAILED)
    running.refresh_from_db()
    assert limits_of(spec_of(running)) == (50, 100, None, None, 10)


def test_what_the_hosts_kernel_cannot_limit_is_refused_at_its_field(running: Machine) -> None:
    nic = running.nics.get()
    host_lacks(BANDWIDTH_IN_FEATURE, BANDWIDTH_OUT_FEATURE)
    for card, field in ((CardLimits(5, None), "in"), (CardLimits(None, 5), "out")):
        with pytest.raises(Refused, match="cannot limit") as refusal:
            limit(running, card=card)
        assert refusal.value.field == f"{field}-{nic.pk}"
    # What it has already may stay, and be taken away.
    Nic.objects.update(mbit_in=5, mbit_out=6)
    assert limits_of(asked(limit(running, card=CardLimits(5, None))))[3:] == (5, None)


def test_a_share_that_the_host_cannot_give_is_kept_and_said(running: Machine, ann: User) -> None:
    host_lacks(CPU_WEIGHT_FEATURE)
    assert limits_of(asked(limit(running, 300)))[0] == 300
    page = signed_in(ann).get(f"/machines/{running.pk}/hardware/").content.decode()
    assert "cannot share its processors" in page


def test_a_clone_has_its_sources_limits_and_a_snapshot_has_none_of_its_own(running: Machine) -> None:
    end(limit(running, 50, DiskLimits(100, 20), CardLimits(30, 10)))
    snapshots.snapshot_take(machine=running, name="then", description="", memory=False, by=running.owner)
    people.done(running)
    running.snapshots.update(is_ready=True)
    end(limit(running, 60, DiskLimits(101, 21), CardLimits(31, 11)))
    back = snapshots.snapshot_revert(machine=running, snapshot=running.snapshots.get(), by=running.owner)
    assert limits_of(asked(back)) == (60, 101, 21, 31, 11)
    end(back)
    running.refresh_from_db()
    assert limits_of(spec_of(running)) == (60, 101, 21, 31, 11)

    running.snapshots.all().delete()
    Machine.objects.filter(pk=running.pk).update(power=Power.OFF)
    people.done(running, Observed.OFF)
    for linked in (True, False):
        clone = machine_clone(
            machine=running, name=f"copy {linked}", linked=linked, start=False, by=running.owner
        )
        assert limits_of(asked(clone)) == (60, 101, 21, 31, 11)
        people.done(running, Observed.OFF)  # its disks are frozen


def test_the_page_shows_the_limits_and_asks_for_others(running: Machine, ann: User) -> None:
    browser, address = signed_in(ann), f"/machines/{running.pk}/hardware/"
    page = browser.get(address).content.decode()
    assert "Processor share" in page
    assert page.count('placeholder="no limit"') == 4
    data = fields_of(running, share="own", weight=250, iops=500, mib="", in_=100, out=20)
    answer = browser.post(f"{address}limits/", data)
    assert (answer.status_code, answer["Location"]) == (302, address)
    assert limits_of(asked(people.newest(running))) == (250, 500, None, 100, 20)
    page = browser.get(address).content.decode()
    assert '<option value="own" selected>' in page
    for name, value in (("weight", 250), ("iops-.{36}", 500), ("in-.{36}", 100), ("out-.{36}", 20)):
        assert re.search(f'name="{name}"[^>]* value="{value}"', page), name
    for share, weight in (("low", 25), ("normal", 100), ("high", 400)):
        browser.post(f"{address}limits/", fields_of(running, share=share, weight=9))
        assert asked(people.newest(running)).cpu_weight == weight


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"share": "all"}, "Choose one of these."),
        ({"share": "own"}, "from 1 to 10000"),
        ({"share": "own", "weight": 0}, "from 1 to 10000"),
        ({"share": "own", "weight": 10_001}, "from 1 to 10000"),
        ({"iops": 0}, "at most 10000000"),
        ({"iops": "1.5"}, "at most 10000000"),
        ({"mib": 1_000_001}, "at most 1000000,"),
        ({"in_": "fast"}, "at most 30000"),
        ({"out": -3}, "at most 30000"),
        ({"out": "9" * 400}, "at most 30000"),
    ],
)
def test_what_is_typed_wrong_is_said_at_its_field_and_kept(
    running: Machine, ann: User, typed: dict[str, Any], words: str
) -> None:
    before = people.newest(running)
    data = fields_of(running, **({"iops": 77, "out": 88} | typed))
    answer = signed_in(ann).post(f"/machines/{running.pk}/hardware/limits/", data)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert words in page
    assert page.count('aria-invalid="true"') == 1
    assert 'value="77"' in page or "iops" in typed
    assert str(next(iter(typed.values()))) in page
    assert people.newest(running) == before


def test_a_number_for_a_disk_that_is_not_the_machines_changes_nothing(
    running: Machine, ann: User, ben: User
) -> None:
    other = people.machine_of(ben, "his")
    disk = other.disks.get()
    data = fields_of(running, out=5) | {f"iops-{disk.pk}": 1}
    signed_in(ann).post(f"/machines/{running.pk}/hardware/limits/", data)
    disk.refresh_from_db()
    assert disk.iops is None
    assert asked(people.newest(running)).nics[0].mbit_out == 5
