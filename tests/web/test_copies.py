"""Clones, templates and moved disks as the portal sees them: what is asked of the host, what the rows say when it has answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.fleet.models import Host
from portal.machines import cloning, freezing, moving, renewing, reports, services
from portal.machines.models import Base, Disk, Machine, Snapshot, Template
from portal.machines.template_selectors import linked_clones_of, templates_listed
from portal.networks.services import private_network
from portal.refusal import Refused
from tests.web import people
from tests.web.people import signed_in
from workers.contract.acts import FreezeDisks
from workers.contract.disks import GIB, BaseOrigin, CopyOrigin, DiskKind
from workers.contract.errors import ErrorCode
from workers.contract.host import HostUsage, PlaceFacts
from workers.contract.jobs import ForgetBase
from workers.contract.messages import ApplyMachine, DoJob, ErrorReport, Observed, OperationState, Progress
from workers.contract.spec import Power, StopMode
from workers.contract.version import from_wire

DONE, FAILED, SUPERSEDED = OperationState.DONE, OperationState.FAILED, OperationState.SUPERSEDED


@pytest.fixture
def off(machine: Machine) -> Machine:
    """Ann's machine, made and shut down again."""
    people.done(machine)
    services.machine_force_off(machine=machine, by=machine.owner)
    return people.done(machine, Observed.OFF)


def message(operation: Operation) -> ApplyMachine:
    return from_wire(ApplyMachine, operation.message)


def end(operation: Operation, state: OperationState = DONE) -> None:
    assert reports.progress_take(people.told(operation, state))


def end_job(operation: Operation, state: OperationState = DONE) -> None:
    error = ErrorReport(code=ErrorCode.BASE_IN_USE, detail="disk") if state is FAILED else None
    assert reports.progress_take(
        Progress(operation_id=operation.pk, machine_id=None, generation=0, sequence=people.later(), state=state, error=error)
    )  # fmt: skip


def clone(machine: Machine, name: str = "twin", *, linked: bool = True, start: bool = True) -> Operation:
    return cloning.machine_clone(machine=machine, name=name, linked=linked, start=start, by=machine.owner)


def publish(machine: Machine, name: str = "base", *, for_everybody: bool = True) -> Template:
    asked = freezing.machine_publish(
        machine=machine, name=name, description="", for_everybody=for_everybody, by=machine.owner
    )
    end(asked)
    assert asked.about is not None
    return Template.objects.get(pk=asked.about)


def with_pools(*pools: PlaceFacts, **sizes: int) -> None:
    usage: dict[str, Any] = {
        "memory_total_mib": 65536, "memory_free_mib": 60000, "disk_total_mib": 10**6, "disk_free_mib": 900_000, "load": 0.1,
    }  # fmt: skip
    people.host_heard(usage=HostUsage(pools=pools, **(usage | sizes)))


def test_a_linked_clone_waits_until_the_disks_are_frozen_and_stands_on_them(off: Machine, ann: User) -> None:
    disk = off.disks.get()
    made = clone(off)
    frozen = people.newest(off)
    assert (frozen.kind, made.after) == (Kind.FREEZE, frozen)
    act = message(frozen).act
    assert isinstance(act, FreezeDisks)
    [asked] = act.disks
    assert asked.disk_id == disk.pk
    twin = Machine.objects.get(name="twin")
    [wanted] = message(made).spec.disks
    assert wanted.origin == BaseOrigin(base_id=asked.base_id)
    assert wanted.id != disk.pk
    [old], [new] = off.nics.all(), twin.nics.all()
    assert (new.mac != old.mac, new.address != old.address, new.network) == (True, True, old.network)
    assert templates_listed(ann) == []  # it is there for the clone only

    end(frozen)
    disk.refresh_from_db()
    assert (disk.base_id, disk.kind) == (asked.base_id, DiskKind.GROWING)
    assert linked_clones_of(off, ann) == [twin]
    # Nothing was written since: another clone stands on the same.
    second = clone(off, "third")
    assert second.after is None
    assert message(second).spec.disks[0].origin == BaseOrigin(base_id=asked.base_id)
    assert Base.objects.count() == 1
    # It ran in between: what is in its disk is another thing.
    services.machine_start(machine=off, by=ann)
    people.done(off)
    services.machine_force_off(machine=off, by=ann)
    people.done(off, Observed.OFF)
    assert clone(off, "fourth").after is not None
    assert Base.objects.get(stands_on=asked.base_id)
    end(people.newest(off))
    assert {each.name for each in linked_clones_of(off, ann)} == {"twin", "third", "fourth"}


def test_a_machine_made_anew_has_new_disks_of_its_template_and_starts_again_where_it_ran(
    off: Machine, ann: User
) -> None:
    base = publish(off).bases.get()
    added = Disk.objects.create(
        machine=off, position=1, size_bytes=GIB, kind=DiskKind.GROWING, bus=off.disks.get().bus
    )
    before = off.disks.get(position=0)
    page = signed_in(ann).get(f"/machines/{off.pk}/copies/").content.decode()
    assert "Disk 1 becomes again what it began as: base." in page
    assert "The other disks stay as they are." in page
    signed_in(ann).post(f"/machines/{off.pk}/renew/")
    asked = people.newest(off)
    assert asked.kind == Kind.RENEW
    spec = message(asked).spec
    assert (spec.power, spec.run, spec.stop_mode) == (Power.OFF, off.run, StopMode.FORCE)
    new, other = spec.disks
    assert new.origin == BaseOrigin(base_id=base.pk)
    assert (new.slot, new.size_bytes, other.id) == (0, before.size_bytes, added.pk)
    assert new.id != before.pk
    people.done(off, Observed.OFF)

    services.machine_start(machine=off, by=ann)
    people.done(off)
    off.refresh_from_db()
    again = message(renewing.machine_renew(machine=off, by=ann)).spec
    assert (again.power, again.run) == (Power.RUNNING, off.run + 1)
    assert again.disks[0].id != new.id


def test_what_cannot_be_made_anew_is_refused_in_words(off: Machine, ann: User) -> None:
    def refused() -> str:
        before = set(off.disks.values_list("pk", flat=True))
        with pytest.raises(Refused) as refusal:
            renewing.machine_renew(machine=off, by=ann)
        assert set(off.disks.values_list("pk", flat=True)) == before
        return refusal.value.message

    assert "None of its disks began as a template" in refused()
    publish(off)
    snapshot = Snapshot.objects.create(machine=off, name="kept", spec={})
    assert "The machine has snapshots" in refused()
    page = signed_in(ann).get(f"/machines/{off.pk}/copies/").content.decode()
    assert "First delete its snapshots" in page
    snapshot.delete()
    services.machine_start(machine=off, by=ann)
    assert "just starting" in refused()


@pytest.mark.parametrize("state", [FAILED, SUPERSEDED])
def test_a_freezing_that_fails_leaves_the_rows_and_gives_its_clone_up(
    off: Machine, state: OperationState
) -> None:
    made = clone(off)
    end(people.newest(off), state)
    disk = off.disks.get()
    assert disk.base_id is None
    made.refresh_from_db()
    assert (made.state, made.error_code) == (FAILED, ErrorCode.ORIGIN_FAILED)
    Machine.objects.get(name="twin").delete()
    assert freezing.forget_unused() == 1
    end_job(Operation.objects.get(kind=Kind.FORGET_BASE))
    assert not Template.objects.exists()


def test_a_full_clone_copies_each_disk_and_keeps_its_source_off(off: Machine, ann: User) -> None:
    Disk.objects.filter(machine=off).update(kind=DiskKind.FIXED)
    made = clone(off, linked=False, start=False)
    [wanted] = message(made).spec.disks
    assert (wanted.kind, wanted.size_bytes) == (DiskKind.FIXED, off.disks.get().size_bytes)
    assert wanted.origin == CopyOrigin(machine_id=off.pk, disk_id=off.disks.get().pk)
    assert made.after is None
    with pytest.raises(Refused, match="twin"):
        services.machine_start(machine=off, by=ann)
    with pytest.raises(Refused, match="twin"):
        clone(off, "third")
    end(made)
    services.machine_start(machine=off, by=ann)


@pytest.mark.parametrize("linked", [True, False])
def test_what_runs_is_not_cloned_published_or_moved(running: Machine, ann: User, linked: bool) -> None:
    asks: list[Callable[[], object]] = [
        lambda: clone(running, linked=linked),
        lambda: publish(running),
        lambda: moving.disk_move(
            machine=running, disk_id=running.disks.get().pk, kind=DiskKind.FIXED, pool="", by=ann
        ),
    ]
    before = Operation.objects.count()
    for ask in asks:
        with pytest.raises(Refused, match="off"):
            ask()
    assert (Operation.objects.count(), Machine.objects.count(), Template.objects.count()) == (before, 1, 0)


def test_disks_with_snapshots_are_neither_frozen_nor_moved(off: Machine, ann: User) -> None:
    Snapshot.objects.create(machine=off, name="before", spec={})
    disk = off.disks.get()
    for ask in (
        lambda: clone(off),
        lambda: publish(off),
        lambda: moving.disk_move(machine=off, disk_id=disk.pk, kind=DiskKind.FIXED, pool="", by=ann),
    ):
        with pytest.raises(Refused, match="snapshots"):
            ask()
    clone(off, linked=False)


def test_a_machine_from_a_template_is_made_where_the_template_lies(
    off: Machine, ben: User, rack: Host
) -> None:
    people.host_heard("rack-2", memory_total_mib=10**6, memory_free_mib=10**6)
    template = publish(off)

    def asked(name: str = "mine", memory_mib: int = 1024) -> Operation:
        return cloning.machine_from_template(
            template=template, owner=ben, name=name, cpus=2, memory_mib=memory_mib, network=private_network(), by=ben
        )  # fmt: skip

    made = asked()
    spec = message(made).spec
    assert made.host == rack
    assert (spec.cpus, spec.memory_mib, spec.disks[0].origin) == (
        2, 1024, BaseOrigin(base_id=template.bases.get().pk),
    )  # fmt: skip
    assert spec.machine_id != off.pk
    with pytest.raises(Refused, match=r"rack-1.*memory"):
        asked("larger", 900_000)
    with pytest.raises(Refused, match="name already"):
        asked()
    people.silence("rack-1")
    with pytest.raises(Refused, match="rack-1, which cannot be reached"):
        asked("later")


def test_a_template_that_something_stands_on_is_not_deleted(off: Machine, ann: User) -> None:
    template = publish(off)
    with pytest.raises(Refused, match="web"):
        freezing.template_delete(template=template, by=ann)
    # Moved, its disk is a whole copy and stands on nothing.
    moved = moving.disk_move(machine=off, disk_id=off.disks.get().pk, kind=DiskKind.GROWING, pool="", by=ann)
    assert message(moved).spec.disks[0].origin is None
    end(moved)
    freezing.template_delete(template=template, by=ann)
    assert templates_listed(ann) == []
    job = Operation.objects.get(kind=Kind.FORGET_BASE)
    assert from_wire(DoJob, job.message).job == ForgetBase(base_id=template.bases.get().pk)
    assert freezing.forget_unused() == 0  # it is being forgotten already
    end_job(job, FAILED)
    assert Template.objects.exists()
    Operation.objects.update(created_at="2020-01-01T00:00:00Z")
    assert freezing.forget_unused() == 1
    end_job(Operation.objects.get(kind=Kind.FORGET_BASE, state="queued"))
    assert not Template.objects.exists()
    assert not Base.objects.exists()


def test_what_linked_clones_stood_on_goes_with_the_last_of_them(off: Machine) -> None:
    clone(off)
    end(people.newest(off))
    assert freezing.forget_unused() == 0
    Machine.objects.get(name="twin").delete()
    assert freezing.forget_unused() == 0  # the source stands on it as well
    off.delete()
    assert freezing.forget_unused() == 1


def test_a_moved_disks_row_follows_when_it_is_there(off: Machine, ann: User) -> None:
    with_pools(PlaceFacts(name="fast", total_mib=100_000, free_mib=50_000))
    disk = off.disks.get()

    def move() -> Operation:
        return moving.disk_move(machine=off, disk_id=disk.pk, kind=DiskKind.FIXED, pool="fast", by=ann)

    asked = move()
    [wanted] = message(asked).spec.disks
    assert (wanted.kind, wanted.pool) == (DiskKind.FIXED, "fast")
    disk.refresh_from_db()
    assert (disk.kind, disk.pool) == (DiskKind.GROWING, "")
    # Cancelled: it stays where it was.
    [left] = message(services.operation_cancel(machine=off, by=ann)).spec.disks
    assert (left.kind, left.pool) == (DiskKind.GROWING, None)
    end(asked, SUPERSEDED)
    people.done(off, Observed.OFF)
    disk.refresh_from_db()
    assert (disk.kind, disk.pool) == (DiskKind.GROWING, "")
    end(move())
    disk.refresh_from_db()
    assert (disk.kind, disk.pool) == (DiskKind.FIXED, "fast")
    with pytest.raises(Refused, match="already"):
        move()


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        (PlaceFacts(name="fast", total_mib=100_000, free_mib=10_000), "only 9.8 GB free"),
        (PlaceFacts(name="fast", total_mib=0, free_mib=0, problem="not mounted"), "not mounted"),
        (PlaceFacts(name="other", total_mib=10**6, free_mib=10**6), "no pool"),
    ],
)
def test_a_pool_without_room_is_said_at_once(off: Machine, ann: User, pool: PlaceFacts, words: str) -> None:
    assert off.disks.get().size_bytes == 10 * GIB
    with_pools(pool)
    with pytest.raises(Refused, match=words):
        moving.disk_move(machine=off, disk_id=off.disks.get().pk, kind=DiskKind.FIXED, pool="fast", by=ann)


def test_a_host_shows_its_pools_and_what_is_wrong_with_one(rack: Host, boss: User) -> None:
    broken = PlaceFacts(name="big", total_mib=0, free_mib=0, problem="is the disk mounted?")
    with_pools(PlaceFacts(name="fast", total_mib=102_400, free_mib=51_200), broken)
    shown = signed_in(boss).get("/hosts/rack-1/").content.decode()
    assert "50 GB of 100 GB free" in shown
    assert "is the disk mounted?" in shown


def test_templates_are_seen_by_their_owner_and_published_ones_by_everybody(
    off: Machine, ann: User, ben: User, boss: User
) -> None:
    template = publish(off, for_everybody=False)
    page = f"/templates/{template.pk}/"
    for person, expected in ((ann, 200), (boss, 200), (ben, 404)):
        assert signed_in(person).get(page).status_code == expected
    assert "web" in signed_in(ann).get("/templates/").content.decode()
    Template.objects.update(is_published=True)
    shown = signed_in(ben).get("/templates/").content.decode()
    assert "1 machine of others" in shown
    assert f"/machines/{off.pk}/" not in shown
    assert signed_in(ben).post(f"{page}delete/").status_code == 403
    answer = signed_in(ben).post(page, {"name": "mine", "size": "template", "network": ""})
    assert answer.status_code == 302
    assert Machine.objects.get(name="mine").owner == ben
    Template.objects.update(is_ready=False)
    assert signed_in(ben).get(page).status_code == 404


def test_what_was_typed_stays_and_what_is_wrong_is_said_at_its_field(off: Machine, ann: User) -> None:
    browser, page = signed_in(ann), f"/machines/{off.pk}/"
    answer = browser.post(f"{page}clone/", {"name": "web", "how": "full"})
    assert answer.status_code == 422
    shown = answer.content.decode()
    assert 'id="id_name-error"' in shown
    assert "You have a machine of this name already" in shown
    answer = browser.post(f"{page}publish/", {"name": "", "description": "what I typed"})
    assert answer.status_code == 422
    assert "what I typed" in answer.content.decode()
    assert browser.post(f"{page}clone/", {"name": "twin", "how": "linked", "start": "on"}).status_code == 302
    assert (
        browser.post(f"{page}publish/", {"name": "b"}).status_code == 422
    )  # the clone's freezing is under way
    answer = browser.post(f"{page}disks/{people.nobody()}/move/", {"kind": "fixed"}, follow=True)
    assert "under way" in answer.content.decode()


def test_a_new_machines_disk_lies_in_the_pool_that_was_chosen(rack: Host, ann: User) -> None:
    fields = {"name": "pooled", "size": "small", "disk_gib": "20", "disk_kind": "fixed", "pool": "fast"}
    fields["network"] = str(private_network().pk)
    browser = signed_in(ann)
    assert "id_pool" not in browser.get("/machines/new/").content.decode()
    with_pools(PlaceFacts(name="fast", total_mib=100_000, free_mib=10_000))
    answer = browser.post("/machines/new/", fields)
    assert answer.status_code == 422
    assert "room free in the pool “fast”: the most is 9 GB" in answer.content.decode()
    assert browser.post("/machines/new/", fields | {"pool": "other"}).status_code == 422
    assert browser.post("/machines/new/", fields | {"disk_gib": "5"}).status_code == 302
    assert message(people.newest(Machine.objects.get())).spec.disks[0].pool == "fast"
