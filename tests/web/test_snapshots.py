"""Snapshots on the portal's side: the tree, what is refused, and what the ends of operations mean for the rows."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.machines import reports, services, snapshots
from portal.machines.models import Disk, Machine, Nic, Snapshot
from portal.refusal import Refused
from tests.web.people import done, image_named, machine_of, newest, signed_in, told
from workers.contract.acts import DeleteSnapshot, RevertToSnapshot, TakeSnapshot
from workers.contract.errors import ErrorCode
from workers.contract.jobs import SnapshotFacts
from workers.contract.messages import (
    ApplyMachine,
    ErrorReport,
    Observed,
    OperationState,
    Step,
    StepReport,
    StepState,
)
from workers.contract.spec import GIB, DiskKind, Power, StopMode
from workers.contract.version import from_wire


def message(operation: Operation) -> ApplyMachine:
    return from_wire(ApplyMachine, operation.message)


def asked(machine: Machine, name: str = "clean", *, memory: bool = False) -> Operation:
    return snapshots.snapshot_take(
        machine=machine, name=name, description="", memory=memory, by=machine.owner
    )


def taken(machine: Machine, name: str = "clean", *, memory_bytes: int = 0) -> Snapshot:
    """A snapshot that its host has taken."""
    operation = asked(machine, name, memory=memory_bytes > 0)
    reports.progress_take(told(operation, facts=SnapshotFacts(memory_bytes=memory_bytes)))
    machine.refresh_from_db()
    return machine.snapshots.get(name=name)


def test_taking_one_asks_the_host_and_it_is_ready_when_the_host_says_so(running: Machine) -> None:
    operation = asked(running, memory=True)
    snapshot = running.snapshots.get()
    assert (snapshot.is_ready, snapshot.parent) == (False, None)
    sent = message(operation)
    assert sent.act == TakeSnapshot(snapshot_id=snapshot.pk, memory=True)
    assert (sent.spec.power, sent.spec.run) == (Power.RUNNING, running.run)
    assert reports.progress_take(told(operation, facts=SnapshotFacts(memory_bytes=5)))
    running.refresh_from_db()
    snapshot.refresh_from_db()
    assert (snapshot.is_ready, snapshot.has_memory, snapshot.memory_bytes) == (True, True, 5)
    assert running.current_snapshot == snapshot


@pytest.mark.parametrize("state", [OperationState.FAILED, OperationState.SUPERSEDED])
def test_one_that_was_not_taken_leaves_no_row(running: Machine, state: OperationState) -> None:
    first = taken(running)
    operation = asked(running, "second")
    reports.progress_take(told(operation, state))
    running.refresh_from_db()
    assert [each.name for each in running.snapshots.all()] == ["clean"]
    assert running.current_snapshot == first
    assert (running.power, running.observed) == (Power.RUNNING, Observed.RUNNING)


def test_the_tree_stands_as_they_were_taken_and_a_deleted_one_leaves_its_children(running: Machine) -> None:
    one = taken(running, "one")
    two = taken(running, "two")
    taken(running, "three")
    back = snapshots.snapshot_revert(machine=running, snapshot=one, by=running.owner)
    reports.progress_take(told(back))
    running.refresh_from_db()
    assert running.current_snapshot == one
    done(running)
    taken(running, "other")
    shape = [("one", 0), ("two", 1), ("three", 2), ("other", 1)]
    assert [(each.name, depth) for each, depth in snapshots.tree_of(running)] == shape

    operation = snapshots.snapshot_delete(machine=running, snapshot=two, by=running.owner)
    assert message(operation).act == DeleteSnapshot(snapshot_id=two.pk)
    assert running.snapshots.count() == 4
    reports.progress_take(told(operation))
    shape = [("one", 0), ("three", 1), ("other", 1)]
    assert [(each.name, depth) for each, depth in snapshots.tree_of(running)] == shape

    # The one that the machine stands on goes: it stands on what was before.
    here = running.snapshots.get(name="other")
    reports.progress_take(told(snapshots.snapshot_delete(machine=running, snapshot=here, by=running.owner)))
    running.refresh_from_db()
    assert running.current_snapshot == one


def test_one_that_could_not_be_deleted_stays(running: Machine) -> None:
    snapshot = taken(running)
    operation = snapshots.snapshot_delete(machine=running, snapshot=snapshot, by=running.owner)
    reports.progress_take(told(operation, OperationState.FAILED))
    assert running.snapshots.get() == snapshot


def test_going_back_brings_the_hardware_of_then_but_not_its_name(running: Machine) -> None:
    disc = image_named()
    Machine.objects.filter(pk=running.pk).update(disc=disc)
    running.refresh_from_db()
    snapshot = taken(running, memory_bytes=7)
    mac, address = running.nics.get().mac, running.nics.get().address
    Machine.objects.filter(pk=running.pk).update(cpus=4, memory_mib=2048, disc=None, name="renamed")
    Disk.objects.filter(machine=running).update(size_bytes=20 * GIB)
    Nic.objects.filter(machine=running).update(address="192.168.57.77", mac="52:54:00:aa:bb:cc")
    running.refresh_from_db()

    operation = snapshots.snapshot_revert(machine=running, snapshot=snapshot, by=running.owner)
    sent = message(operation)
    assert sent.act == RevertToSnapshot(snapshot_id=snapshot.pk, memory=True)
    spec = sent.spec
    assert (spec.cpus, spec.memory_mib, spec.name) == (1, 512, "renamed")
    assert (spec.power, spec.stop_mode, spec.run) == (Power.RUNNING, StopMode.FORCE, running.run + 1)
    assert spec.disc is not None
    assert spec.disc.image_id == disc.pk
    assert (spec.nics[0].mac, str(spec.nics[0].address)) == (mac, address)
    # Until it is done the rows say what the machine is now.
    running.refresh_from_db()
    assert (running.cpus, running.disc) == (4, None)

    reports.progress_take(told(operation))
    running.refresh_from_db()
    assert (running.cpus, running.memory_mib, running.disc, running.name) == (1, 512, disc, "renamed")
    assert running.disks.get().size_bytes == 10 * GIB
    nic = running.nics.get()
    assert (nic.mac, nic.address) == (mac, address)
    assert running.current_snapshot == snapshot


def test_a_disc_that_the_library_no_longer_has_is_left_out(running: Machine) -> None:
    disc = image_named()
    Machine.objects.filter(pk=running.pk).update(disc=disc)
    running.refresh_from_db()
    snapshot = taken(running)
    Machine.objects.filter(pk=running.pk).update(disc=None)
    disc.delete()
    operation = snapshots.snapshot_revert(machine=running, snapshot=snapshot, by=running.owner)
    assert message(operation).spec.disc is None


def test_going_back_that_failed_leaves_the_rows_unless_the_disks_were_put_back(running: Machine) -> None:
    snapshot = taken(running)
    Machine.objects.filter(pk=running.pk).update(cpus=4)
    step = StepReport(step=Step.REVERT_TO_SNAPSHOT, state=StepState.FAILED)
    failed = snapshots.snapshot_revert(machine=running, snapshot=snapshot, by=running.owner)
    reports.progress_take(told(failed, OperationState.FAILED, steps=(step,)))
    running.refresh_from_db()
    assert running.cpus == 4

    half = snapshots.snapshot_revert(machine=running, snapshot=snapshot, by=running.owner)
    steps = (
        StepReport(step=Step.REVERT_TO_SNAPSHOT, state=StepState.DONE, percent=100),
        StepReport(step=Step.LAUNCH, state=StepState.FAILED),
    )
    error = ErrorReport(code=ErrorCode.MEMORY_SHORT)
    reports.progress_take(told(half, OperationState.FAILED, steps=steps, error=error))
    running.refresh_from_db()
    assert running.cpus == 1


def test_a_machine_that_is_off_stays_off_without_memory_and_runs_with_it(running: Machine) -> None:
    without, having = taken(running, "without"), taken(running, "with", memory_bytes=9)
    done(running, Observed.OFF)
    Machine.objects.filter(pk=running.pk).update(power=Power.OFF)
    operation = snapshots.snapshot_revert(machine=running, snapshot=without, by=running.owner)
    assert message(operation).spec.power is Power.OFF
    reports.progress_take(told(operation))
    operation = snapshots.snapshot_revert(machine=running, snapshot=having, by=running.owner)
    assert message(operation).spec.power is Power.RUNNING


def test_a_snapshot_of_now_comes_first_and_without_it_nobody_goes_back(running: Machine) -> None:
    snapshot = taken(running)
    back = snapshots.snapshot_revert(
        machine=running, snapshot=snapshot, by=running.owner, first="before", first_memory=True
    )
    first = running.operations.get(kind=Kind.TAKE_SNAPSHOT, state="queued")
    assert back.after == first
    assert first.generation < back.generation
    assert back.sent_at is None
    reports.progress_take(told(first, OperationState.FAILED))
    back.refresh_from_db()
    assert back.state == OperationState.FAILED
    running.refresh_from_db()
    assert running.power == Power.RUNNING  # it never ceased to
    assert [each.name for each in running.snapshots.all()] == ["clean"]


def test_what_cannot_be_kept_or_gone_back_to_is_refused_in_words(running: Machine, ann: User) -> None:
    snapshot = taken(running)
    disk = running.disks.get()

    def refused(words: str, **changes: Any) -> None:
        before = newest(running).pk
        with pytest.raises(Refused, match=words):
            snapshots.snapshot_revert(machine=running, snapshot=snapshot, by=ann, **changes)
        assert newest(running).pk == before

    added = Disk.objects.create(machine=running, position=1, size_bytes=GIB, kind="growing", bus="virtio")
    refused("Disk 2 was added after this snapshot")
    added.delete()
    Disk.objects.filter(pk=disk.pk).update(is_leaving=True)
    refused("is being removed")
    with pytest.raises(Refused, match="is being removed"):
        asked(running, "another")
    Disk.objects.filter(pk=disk.pk).update(is_leaving=False)
    Disk.objects.filter(pk=disk.pk).update(kind=DiskKind.FIXED)
    refused("moved or converted")
    with pytest.raises(Refused, match="fixed disk has no snapshots"):
        asked(running, "another")
    Disk.objects.filter(pk=disk.pk).update(kind=DiskKind.GROWING)
    nic = running.nics.get()
    address = nic.address
    nic.delete()
    other = machine_of(ann, "other")
    Nic.objects.filter(machine=other).update(address=address)
    refused("belongs to another machine now")
    Nic.objects.filter(machine=other).update(address="10.9.9.9")
    Machine.objects.filter(pk=running.pk).update(observed=Observed.SAVED)
    refused("hibernated")
    with pytest.raises(Refused, match="hibernated"):
        asked(running, "another")
    Machine.objects.filter(pk=running.pk).update(observed=Observed.RUNNING)
    with pytest.raises(Refused, match="name already"):
        asked(running, " clean ")
    with pytest.raises(Refused, match="needs a name"):
        asked(running, " \u200b ")
    disk.delete()
    refused("has been removed")


def test_only_so_many_are_kept(running: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "MOST_SNAPSHOTS", 1)
    taken(running)
    with pytest.raises(Refused, match="at most 1 snapshots"):
        asked(running, "second")


def test_while_one_is_taken_nothing_else_is_asked_but_to_cancel(running: Machine, ann: User) -> None:
    operation = asked(running)
    snapshot = running.snapshots.get()
    with pytest.raises(Refused, match="under way"):
        snapshots.snapshot_delete(machine=running, snapshot=snapshot, by=ann)
    with pytest.raises(Refused, match="under way"):
        services.machine_shut_down(machine=running, by=ann)
    services.operation_cancel(machine=running, by=ann)
    reports.progress_take(told(operation, OperationState.SUPERSEDED))
    assert not snapshots.has_snapshots(running)


@pytest.fixture
def browser(ann: User) -> Client:
    return signed_in(ann)


def test_the_page_shows_the_tree_takes_one_and_keeps_what_was_typed(
    browser: Client, running: Machine
) -> None:
    url = reverse("machines:snapshots", args=[running.pk])
    answer = browser.get(url)
    assert answer.status_code == 200
    assert "Snapshot of " in answer.content.decode()
    assert "With its memory" in answer.content.decode()
    taken(running, "clean", memory_bytes=1024)
    refused = browser.post(url, {"name": "clean", "description": "before <b>it</b>", "memory": "yes"})
    page = refused.content.decode()
    assert refused.status_code == 422
    assert "has a snapshot of that name already" in page
    assert 'value="clean"' in page
    assert "before &lt;b&gt;it&lt;/b&gt;" in page
    assert browser.post(url, {"name": "second", "description": "x"}).status_code == 302
    second = running.snapshots.get(name="second")
    assert (second.has_memory, second.parent and second.parent.name) == (False, "clean")
    page = browser.get(url).content.decode()
    assert "You are here" in page
    assert "being taken" in page
    assert "disks and memory" in page


def test_the_buttons_rename_go_back_and_delete(browser: Client, running: Machine) -> None:
    snapshot = taken(running)
    taken(running, "other")

    def press(what: str, **typed: str) -> str:
        url = reverse(f"machines:snapshot-{what}", args=[running.pk, snapshot.pk])
        answer = browser.post(url, typed, follow=True)
        return str(answer.content.decode())

    assert "renamed" in press("rename", name="renamed", description="why")
    assert "name already" in press("rename", name="other")
    assert "needs a name" in press("rename", name="")
    press("delete")
    assert newest(running).kind == Kind.DELETE_SNAPSHOT
    reports.progress_take(told(newest(running), OperationState.FAILED))
    press("revert", first="yes", first_name="before")
    assert newest(running).kind == Kind.REVERT
    assert running.snapshots.filter(name="before", is_ready=False).exists()


def test_a_snapshot_of_another_machine_is_not_there(browser: Client, running: Machine, ann: User) -> None:
    other = done(machine_of(ann, "other"))
    snapshot = taken(other)
    for what in ("revert", "delete", "rename"):
        for key in (snapshot.pk, uuid4()):
            url = reverse(f"machines:snapshot-{what}", args=[running.pk, key])
            assert browser.post(url, {"name": "x"}).status_code == 404


def test_a_machine_with_a_fixed_disk_is_told_beforehand(browser: Client, running: Machine) -> None:
    running.disks.update(kind=DiskKind.FIXED)
    page = browser.get(reverse("machines:snapshots", args=[running.pk])).content.decode()
    assert "Convert it to a growing disk first" in page
    assert "Take it" not in page
