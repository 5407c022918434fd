"""Backups as people and plans ask for them: what is asked of the host, what comes of its answer, what the pages say."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.utils import timezone

from portal.accounts.models import User
from portal.activity.models import Operation
from portal.backups import services
from portal.backups.models import Backup, BackupPlan, BackupState
from portal.backups.services import PlanWish
from portal.backups.timing import next_time
from portal.fleet.models import Host
from portal.machines.models import Machine
from portal.machines.reports import observed_take, progress_take
from portal.machines.services import machine_delete, machine_shut_down, operation_cancel
from portal.notices.models import Notice
from portal.refusal import Refused
from tests.web import people
from tests.web.people import signed_in, told
from workers.contract.errors import ErrorCode
from workers.contract.host import HostUsage, PlaceFacts
from workers.contract.jobs import BackupFacts
from workers.contract.messages import ErrorReport, Observed, OperationState, Progress
from workers.contract.spec import Power

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)  # a Wednesday


@pytest.fixture
def rack(db: None) -> Host:
    """A host with a backup folder, and one that is away."""
    places = (
        PlaceFacts(name="main", total_mib=1000, free_mib=900),
        PlaceFacts(name="share", total_mib=0, free_mib=0, problem="/mnt/share is not a folder"),
    )
    usage = HostUsage(
        memory_total_mib=65536, memory_free_mib=60000, disk_total_mib=10**6, disk_free_mib=9 * 10**5, load=0.5,
        backup_places=places,
    )  # fmt: skip
    return people.host_heard(usage=usage)


@pytest.mark.parametrize(
    ("every", "weekday", "at", "expected"),
    [
        ("day", 0, time(13, 0), "2026-03-04 13:00"),
        ("day", 0, time(12, 0), "2026-03-05 12:00"),  # not the same one again
        ("day", 0, time(2, 30), "2026-03-05 02:30"),
        ("week", 2, time(13, 0), "2026-03-04 13:00"),
        ("week", 2, time(11, 0), "2026-03-11 11:00"),
        ("week", 0, time(0, 0), "2026-03-09 00:00"),
    ],
)
def test_the_next_time_of_a_plan(every: str, weekday: int, at: time, expected: str) -> None:
    assert next_time(every, weekday, at, NOON).strftime("%Y-%m-%d %H:%M") == expected


def test_the_first_is_full_the_next_stands_on_it_until_it_is_damaged(running: Machine, ann: User) -> None:
    first = _taken(running, ann)
    assert _act(running)["previous"] is None
    second = _taken(running, ann, incremental=True)
    assert _act(running)["previous"] == str(first.pk)
    assert second.is_incremental
    _job(second, services.backup_verify, OperationState.FAILED, ErrorCode.BACKUP_DAMAGED)
    second.refresh_from_db()
    assert second.state == BackupState.DAMAGED
    services.backup_take(machine=running, place="main", by=ann)
    assert _act(running)["previous"] is None
    assert (
        "not what was written down" in signed_in(ann).get(f"/machines/{running.pk}/backups/").content.decode()
    )


def test_a_full_one_can_be_asked_for(running: Machine, ann: User) -> None:
    _taken(running, ann)
    assert (
        signed_in(ann).post(f"/machines/{running.pk}/back-up/", {"place": "main", "whole": "on"}).status_code
        == 302
    )
    assert _act(running)["previous"] is None


@pytest.mark.parametrize("state", [OperationState.FAILED, OperationState.SUPERSEDED])
def test_one_that_was_not_taken_is_not_listed(running: Machine, ann: User, state: OperationState) -> None:
    asked = services.backup_take(machine=running, place="main", by=ann)
    assert Backup.objects.get().state == BackupState.TAKING
    assert progress_take(told(asked, state))
    assert not Backup.objects.exists()


def test_while_it_is_taken_only_a_cancel_is_heard(running: Machine, ann: User) -> None:
    services.backup_take(machine=running, place="main", by=ann)
    with pytest.raises(Refused, match="under way"):
        machine_shut_down(machine=running, by=ann)
    operation_cancel(machine=running, by=ann)
    assert people.newest(running).message["body"]["act"] is None


@pytest.mark.parametrize("place", ["share", "elsewhere"])
def test_a_folder_that_cannot_be_used_is_refused_at_its_field(
    running: Machine, ann: User, place: str
) -> None:
    answer = signed_in(ann).post(f"/machines/{running.pk}/back-up/", {"place": place})
    assert answer.status_code == 422
    assert "backup folder" in answer.content.decode()
    assert not Backup.objects.exists()


def test_without_a_folder_the_page_says_what_to_set(running: Machine, ann: User) -> None:
    Host.objects.update(backup_places=[])
    assert "OFFSHOOT_BACKUP_PLACES" in signed_in(ann).get(f"/machines/{running.pk}/backups/").content.decode()


def test_a_plan_is_due_once_however_long_it_was_missed(running: Machine, ann: User) -> None:
    _plan(running, ann)
    assert services.plans_run_due() == 0
    BackupPlan.objects.update(next_at=timezone.now() - timedelta(days=5))
    people.silence("rack-1")
    assert services.plans_run_due() == 0  # its host is away: it waits
    Host.objects.update(last_seen=timezone.now())
    assert services.plans_run_due() == 1
    assert services.plans_run_due() == 0
    backup = Backup.objects.get()
    assert backup.is_planned
    assert BackupPlan.objects.get().next_at > timezone.now()  # type: ignore[operator]


def test_a_plan_waits_for_what_goes_on(running: Machine, ann: User) -> None:
    _plan(running, ann)
    first = services.backup_take(machine=running, place="main", by=ann)
    BackupPlan.objects.update(next_at=timezone.now() - timedelta(minutes=1))
    assert services.plans_run_due() == 0
    progress_take(_done(first))
    assert services.plans_run_due() == 1


def test_a_plan_says_why_nothing_was_begun(running: Machine, ann: User) -> None:
    _plan(running, ann)
    Host.objects.update(
        backup_places=[{"name": "main", "problem": "not mounted", "total_mib": 0, "free_mib": 0}]
    )
    BackupPlan.objects.update(next_at=timezone.now() - timedelta(minutes=1))
    assert services.plans_run_due() == 0
    page = signed_in(ann).get(f"/machines/{running.pk}/backups/").content.decode()
    assert "could not be begun" in page


def test_as_many_as_the_plan_says_are_kept_and_a_persons_own_stay(running: Machine, ann: User) -> None:
    _plan(running, ann, keep=2)
    own = _taken(running, ann)
    planned = [_taken(running, ann, planned=True) for _ in range(3)]
    deleting = Operation.objects.filter(kind="delete_backup")
    assert not deleting.exists()  # the oldest is still being verified
    for asked in Operation.objects.filter(kind="verify_backup"):
        progress_take(_job_end(asked, OperationState.DONE))
    assert [operation.about for operation in deleting] == [planned[0].pk]
    assert Backup.objects.get(pk=planned[0].pk).state == BackupState.DELETING
    progress_take(_job_end(deleting.get(), OperationState.DONE))
    assert set(Backup.objects.values_list("pk", flat=True)) == {own.pk, planned[1].pk, planned[2].pk}


def test_what_a_plan_took_is_verified_and_its_owner_is_told_where_it_is_damaged(
    running: Machine, ann: User
) -> None:
    _plan(running, ann)
    for code, state in ((None, BackupState.READY), (ErrorCode.BACKUP_DAMAGED, BackupState.DAMAGED)):
        backup = _taken(running, ann, planned=True)
        asked = Operation.objects.get(kind="verify_backup", about=backup.pk)
        assert asked.requested_by is None
        progress_take(_job_end(asked, OperationState.FAILED if code else OperationState.DONE, code))
        backup.refresh_from_db()
        assert (backup.state, backup.verified_at is not None) == (state, code is None)
    said = Notice.objects.get(person=ann, kind="operation_failed").text
    assert said.startswith("Verify a backup of “web” failed.")
    own = _taken(running, ann)
    assert not Operation.objects.filter(kind="verify_backup", about=own.pk).exists()


def test_a_plan_can_be_switched_off_and_keeps_what_was_typed(running: Machine, ann: User) -> None:
    browser, address = signed_in(ann), f"/machines/{running.pk}/backup-plan/"
    fields = {"is_on": "on", "every": "week", "weekday": "3", "at": "04:15", "place": "main", "keep": "4"}
    answer = browser.post(address, fields | {"keep": "0"})
    assert answer.status_code == 422
    assert 'value="04:15"' in answer.content.decode()
    assert browser.post(address, fields).status_code == 302
    plan = BackupPlan.objects.get()
    assert (plan.weekday, plan.keep, plan.at) == (3, 4, time(4, 15))
    assert plan.next_at is not None
    del fields["is_on"]
    assert browser.post(address, fields).status_code == 302
    assert BackupPlan.objects.get().next_at is None


def test_what_is_restored_is_a_machine_of_its_own(running: Machine, ann: User) -> None:
    backup = _taken(running, ann)
    answer = signed_in(ann).post(f"/backups/{backup.pk}/restore/", {"name": "web again"})
    assert answer.status_code == 302
    made = Machine.objects.get(name="web again")
    spec = people.newest(made).message["body"]["spec"]
    [origin] = [disk["origin"] for disk in spec["disks"]]
    assert origin["backup_id"] == str(backup.pk)
    assert origin["disk_id"] == str(running.disks.get().pk)
    assert made.disks.get().pk != running.disks.get().pk
    assert made.nics.get().mac != running.nics.get().mac
    assert (made.power, made.memory_mib) == (Power.OFF, running.memory_mib)
    answer = signed_in(ann).post(f"/backups/{backup.pk}/restore/", {"name": "web again"})
    assert answer.status_code == 422
    assert "of this name already" in answer.content.decode()


def test_backups_of_a_deleted_machine_stay_with_its_owner(
    running: Machine, ann: User, ben: User, boss: User
) -> None:
    backup = _taken(running, ann)
    machine_delete(machine=running, name=running.name, by=ann)
    running.refresh_from_db()
    observed_take(people.seen(running, Observed.GONE))
    assert not Machine.objects.exists()
    for user, sees in ((ann, True), (boss, True), (ben, False)):
        assert (str(backup.pk) in signed_in(user).get("/backups/").content.decode()) is sees
        assert ("/backups/" in signed_in(user).get("/machines/").content.decode()) is sees
    assert signed_in(ann).post(f"/backups/{backup.pk}/restore/", {"name": "back"}).status_code == 302
    assert Machine.objects.get(name="back").owner == ann
    assert signed_in(ann).post(f"/backups/{backup.pk}/delete/").status_code == 302
    assert Backup.objects.get().state == BackupState.DELETING


def test_a_machine_that_is_deleted_in_its_backup_leaves_no_row_for_ever(running: Machine, ann: User) -> None:
    services.backup_take(machine=running, place="main", by=ann)
    machine_delete(machine=running, name=running.name, by=ann)
    running.refresh_from_db()
    observed_take(people.seen(running, Observed.GONE))
    Backup.objects.update(asked_at=timezone.now() - timedelta(hours=1))
    services.clear_forgotten()
    assert not Backup.objects.exists()


def test_a_deletion_that_failed_is_told_and_can_be_asked_again(running: Machine, ann: User) -> None:
    backup = _taken(running, ann)
    _job(backup, services.backup_delete, OperationState.FAILED, ErrorCode.PLACE_MISSING)
    assert (
        "The folder for it is not there"
        in signed_in(ann).get(f"/machines/{running.pk}/backups/").content.decode()
    )
    _job(backup, services.backup_delete, OperationState.DONE)
    assert not Backup.objects.exists()


def test_the_hosts_page_names_the_folders(running: Machine, boss: User) -> None:
    page = signed_in(boss).get("/hosts/rack-1/").content.decode()
    assert "main" in page
    assert "/mnt/share is not a folder" in page


def _taken(machine: Machine, by: User, *, incremental: bool = False, planned: bool = False) -> Backup:
    asked = services.backup_take(machine=machine, place="main", by=by, planned=planned)
    assert progress_take(_done(asked, incremental=incremental))
    return Backup.objects.get(pk__in=[asked.about])


def _done(operation: Operation, *, incremental: bool = False) -> Progress:
    return told(operation, facts=BackupFacts(stored_bytes=4096, incremental=incremental))


def _act(machine: Machine) -> dict[str, Any]:
    act: dict[str, Any] = people.newest(machine).message["body"]["act"]
    return act


def _plan(machine: Machine, by: User, *, keep: int = 7) -> None:
    wish = PlanWish(is_on=True, every="day", weekday=0, at=time(2, 30), place="main", keep=keep)
    services.plan_set(machine=machine, wish=wish, by=by)


def _job(backup: Backup, service: Any, state: OperationState, code: ErrorCode | None = None) -> None:
    assert progress_take(_job_end(service(backup=backup, by=None), state, code))


def _job_end(operation: Operation, state: OperationState, code: ErrorCode | None = None) -> Progress:
    return Progress(
        operation_id=operation.pk,
        machine_id=None,
        generation=0,
        sequence=people.later(),
        state=state,
        error=ErrorReport(code=code, detail="because") if code else None,
    )
