"""What hosts report: late, twice, out of order, of strangers, malformed; a newer word is never overwritten by an older."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import LazySettings
from django.db import OperationalError
from pytest_django import DjangoAssertNumQueries

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.fleet.models import Host
from portal.fleet.services import heartbeat_take, silence_notice
from portal.machines import dispatch, reports, services, tasks
from portal.machines.models import Machine
from portal.machines.reports import observed_take, progress_take
from tests.web.people import (
    done,
    heartbeat,
    host_heard,
    image_named,
    later,
    machine_of,
    newest,
    nobody,
    seen,
    signed_in,
    silence,
    told,
)
from workers.contract.errors import ErrorCode
from workers.contract.messages import (
    REPORT_OBSERVED,
    REPORT_PROGRESS,
    EndReason,
    ErrorReport,
    NicFacts,
    Observed,
    OperationState,
    Step,
    StepReport,
    StepState,
    UnderTheHood,
)
from workers.contract.spec import BootFrom, Power

RUNNING, DONE, FAILED = OperationState.RUNNING, OperationState.DONE, OperationState.FAILED
SUPERSEDED = OperationState.SUPERSEDED


def state_of(operation: Operation) -> str:
    operation.refresh_from_db()
    return operation.state


def steps(percent: int, state: StepState = StepState.RUNNING) -> tuple[StepReport, ...]:
    return (StepReport(step=Step.MAKE_DISKS, state=state, percent=percent),)


def test_progress_goes_on_to_its_end(machine: Machine) -> None:
    create = newest(machine)
    assert progress_take(told(create, RUNNING, steps=steps(40)))
    assert state_of(create) == "running"
    assert create.steps == [{"step": "make_disks", "state": "running", "percent": 40}]
    assert create.reported_at is not None
    assert create.finished_at is None
    assert progress_take(told(create, DONE, steps=steps(100)))
    assert state_of(create) == "done"
    assert create.steps[0]["state"] == "done"
    assert create.finished_at is not None


def test_late_and_doubled_progress_changes_nothing(machine: Machine) -> None:
    create = newest(machine)
    early, middle, end = (told(create, RUNNING, steps=steps(p)) for p in (10, 60, 99))
    end = told(create, DONE)
    assert progress_take(middle)
    for late in (early, middle):
        assert not progress_take(late)
    assert state_of(create) == "running"
    assert create.steps[0]["percent"] == 60
    assert progress_take(end)
    for after in (end, told(create, RUNNING), told(create, FAILED), early):
        assert not progress_take(after)
    assert state_of(create) == "done"
    assert create.error_code == ""


def test_the_end_alone_is_enough_when_all_before_it_was_lost(machine: Machine) -> None:
    create = newest(machine)
    assert progress_take(told(create, DONE))
    assert state_of(create) == "done"


def test_progress_of_what_is_not_known_is_nothing(machine: Machine, rack: Host) -> None:
    create = newest(machine)
    assert not progress_take(told(create, DONE, operation_id=nobody()))
    assert not progress_take(told(create, DONE, machine_id=nobody()))
    assert state_of(create) == "queued"


def test_an_older_observation_never_overwrites_a_newer_one(running: Machine) -> None:
    old, new = seen(running, Observed.RUNNING), seen(running, Observed.PAUSED)
    assert observed_take(new)
    for late in (old, new):
        assert not observed_take(late)
    running.refresh_from_db()
    assert (running.observed, running.observed_sequence) == (Observed.PAUSED, new.sequence)


def test_only_the_machines_own_host_is_believed(running: Machine) -> None:
    other = host_heard("rack-2")
    for stranger in (other.name, "nowhere"):
        assert not observed_take(seen(running, Observed.OFF, host=stranger))
    assert not observed_take(seen(running, Observed.OFF, machine_id=nobody()))
    running.refresh_from_db()
    assert running.observed == Observed.RUNNING


def test_an_observation_brings_the_end_of_an_operation_whose_own_report_was_lost(machine: Machine) -> None:
    create = newest(machine)
    assert observed_take(seen(machine, operation=told(create, DONE)))
    assert state_of(create) == "done"


def test_cards_and_what_is_under_the_hood_are_written_down(running: Machine) -> None:
    nic = running.nics.get()
    card = NicFacts(mac=nic.mac, bridge="obabc", tap="otabc", leased_address=nic.address)
    stranger = NicFacts(mac="52:54:00:ff:ff:ff", bridge="x", tap="y", leased_address=None)
    hood = UnderTheHood(argv=("qemu", "-x"), console_log="hello")
    assert observed_take(seen(running, nics=(card, stranger), under_the_hood=hood, accelerator="kvm"))
    nic.refresh_from_db()
    running.refresh_from_db()
    assert (nic.bridge, nic.tap, nic.leased_address) == ("obabc", "otabc", nic.address)
    assert running.under_the_hood["argv"] == ["qemu", "-x"]
    assert observed_take(seen(running, accelerator="kvm"))  # a brief one leaves it as it is
    running.refresh_from_db()
    assert running.under_the_hood["console_log"] == "hello"


def test_nothing_that_a_guest_writes_to_its_serial_port_hides_its_neighbours(
    running: Machine, ann: User
) -> None:
    """PostgreSQL keeps no NUL in a text; a guest may write any byte to its serial port."""
    neighbour = done(machine_of(ann, "neighbour"))
    hood = UnderTheHood(console_log="a\x00b \ufffd \x1b[2J", qemu_log="\x00")
    noisy = seen(running, under_the_hood=hood, exit_detail="\x00")
    beat = heartbeat(machines=(noisy, seen(neighbour, Observed.PAUSED)))
    tasks.heartbeat(beat.to_wire())
    for machine in (running, neighbour):
        machine.refresh_from_db()
    assert neighbour.observed == Observed.PAUSED
    assert running.observed_sequence == noisy.sequence
    assert running.under_the_hood["console_log"].endswith("b \ufffd \x1b[2J")
    assert signed_in(ann).get(f"/machines/{running.pk}/").status_code == 200


def test_an_error_with_a_nul_in_its_detail_is_written_down_too(machine: Machine) -> None:
    error = ErrorReport(code=ErrorCode.LAUNCH_FAILED, detail="qemu: \x00")
    assert progress_take(told(newest(machine), FAILED, error=error))
    assert newest(machine).error_detail.startswith("qemu: ")


def test_a_create_that_failed_is_not_wanted_any_more(machine: Machine, ann: User) -> None:
    create = newest(machine)
    assert progress_take(told(create, FAILED, steps=steps(3, StepState.FAILED)))
    assert state_of(create) == "failed"
    assert (create.error_code, create.error_detail) == ("launch_failed", "qemu said no")
    machine.refresh_from_db()
    assert (machine.power, machine.run) == (Power.OFF, 1)
    page = signed_in(ann).get(f"/machines/{machine.pk}/").content.decode()
    assert "Not made" in page
    assert "The machine could not be started." in page
    assert "qemu said no" in page


def test_the_failure_of_an_overtaken_wish_takes_nothing_back(running: Machine, ann: User) -> None:
    off = done(running, Observed.OFF)
    start = services.machine_start(machine=off, by=ann)
    services.machine_force_off(machine=off, by=ann)
    Machine.objects.filter(pk=off.pk).update(power=Power.RUNNING)  # as if a third wish were that it runs
    assert progress_take(told(start, FAILED))
    off.refresh_from_db()
    assert off.power == Power.RUNNING


@pytest.mark.parametrize("kind", [Kind.SHUT_DOWN, Kind.RESTART])
def test_a_guest_that_does_not_listen_goes_on_running_as_before(
    running: Machine, ann: User, kind: Kind
) -> None:
    service = services.machine_shut_down if kind is Kind.SHUT_DOWN else services.machine_restart
    asked = service(machine=running, by=ann)
    error = ErrorReport(code=ErrorCode.GUEST_IGNORED_SHUTDOWN)
    assert progress_take(told(asked, FAILED, error=error))
    running.refresh_from_db()
    assert (running.power, running.run) == (Power.RUNNING, 1)


@pytest.mark.parametrize("way", ["observed", "heartbeat", "its own report first", "heartbeat after its own"])
def test_a_restart_that_failed_at_its_launch_is_not_wanted_any_more(
    running: Machine, ann: User, way: str
) -> None:
    end = told(services.machine_restart(machine=running, by=ann), FAILED)
    off = seen(
        running, Observed.OFF, operation=end
    )  # by a person's wish, so the reason alone decides nothing
    if way in ("its own report first", "heartbeat after its own"):
        assert progress_take(end)
    if way in ("heartbeat", "heartbeat after its own"):
        tasks.heartbeat(heartbeat(machines=(off,)).to_wire())
    else:
        assert observed_take(off)
    running.refresh_from_db()
    assert (running.power, running.observed, running.run) == (Power.OFF, Observed.OFF, 2)
    assert state_of(newest(running)) == "failed"


def test_what_failed_in_a_running_machine_leaves_it_wanted_running(running: Machine, ann: User) -> None:
    asked = services.machine_insert_disc(machine=running, disc=image_named(), by=ann)
    assert observed_take(seen(running, operation=told(asked, FAILED)))
    running.refresh_from_db()
    assert (running.power, running.observed) == (Power.RUNNING, Observed.RUNNING)


def test_a_disc_that_did_not_get_into_the_drive_can_be_asked_for_again(running: Machine, ann: User) -> None:
    first, second = image_named("first"), image_named("second")
    services.machine_insert_disc(machine=running, disc=first, by=ann)
    done(running)
    asked = services.machine_insert_disc(machine=running, disc=second, by=ann)
    assert progress_take(told(asked, FAILED))
    running.refresh_from_db()
    assert (running.disc, running.boot_from) == (first, BootFrom.DISC)
    again = services.machine_insert_disc(machine=running, disc=second, by=ann)
    assert progress_take(told(again))
    running.refresh_from_db()
    assert running.disc == second


def test_an_installation_whose_end_failed_can_be_finished_again(rack: Host, ann: User) -> None:
    disc = image_named()
    installed = done(machine_of(ann, image=disc))
    assert progress_take(told(services.machine_finish_installation(machine=installed, by=ann), FAILED))
    installed.refresh_from_db()
    assert (installed.disc, installed.boot_from) == (disc, BootFrom.DISC)
    assert services.machine_finish_installation(machine=installed, by=ann).kind == Kind.FINISH_INSTALLATION


def test_a_disc_that_left_the_library_meanwhile_does_not_come_back(running: Machine, ann: User) -> None:
    first, second = image_named("first"), image_named("second")
    services.machine_insert_disc(machine=running, disc=first, by=ann)
    done(running)
    asked = services.machine_insert_disc(machine=running, disc=second, by=ann)
    first.delete()
    assert progress_take(told(asked, FAILED))
    running.refresh_from_db()
    assert (running.disc, running.boot_from) == (None, BootFrom.DISK)


def test_the_failure_of_an_overtaken_disc_change_leaves_the_newer_wish(running: Machine, ann: User) -> None:
    first, second = image_named("first"), image_named("second")
    asked = services.machine_insert_disc(machine=running, disc=first, by=ann)
    services.machine_insert_disc(machine=running, disc=second, by=ann)
    assert progress_take(told(asked, FAILED))
    running.refresh_from_db()
    assert running.disc == second


def test_a_failed_disc_change_with_nothing_readable_before_it_hurts_nobody(
    running: Machine, ann: User
) -> None:
    running.operations.update(message={"version": 0})
    disc = image_named()
    asked = services.machine_insert_disc(machine=running, disc=disc, by=ann)
    assert progress_take(told(asked, FAILED))
    assert state_of(asked) == "failed"


@pytest.mark.parametrize("way", ["observed", "heartbeat"])
def test_after_an_older_database_was_restored_the_next_wish_is_newer_than_what_the_host_knows(
    running: Machine, ann: User, way: str
) -> None:
    report = seen(running, accelerator=None, generation=7)
    if way == "heartbeat":
        tasks.heartbeat(heartbeat(machines=(report,)).to_wire())
    else:
        assert observed_take(report)
    running.refresh_from_db()
    assert (running.generation, running.power) == (7, Power.RUNNING)
    assert services.machine_shut_down(machine=running, by=ann).generation == 8


def test_a_deletion_that_failed_stays_wanted(running: Machine, ann: User) -> None:
    asked = services.machine_delete(machine=running, name="web", by=ann)
    assert progress_take(told(asked, FAILED))
    running.refresh_from_db()
    assert running.power == Power.GONE
    assert "Not deleted" in signed_in(ann).get(f"/machines/{running.pk}/").content.decode()


@pytest.mark.parametrize("reason", [EndReason.GUEST, EndReason.CRASH, EndReason.UNSEEN])
def test_a_machine_that_ended_by_itself_is_not_wanted_running_any_more(
    running: Machine, reason: EndReason
) -> None:
    assert observed_take(seen(running, Observed.OFF, reason=reason, exit_detail="why"))
    running.refresh_from_db()
    assert (running.power, running.end_reason, running.exit_detail) == (Power.OFF, reason, "why")


def test_a_machine_that_its_hosts_reboot_ended_stays_wanted(running: Machine) -> None:
    assert observed_take(seen(running, Observed.OFF, reason=EndReason.HOST))
    running.refresh_from_db()
    assert running.power == Power.RUNNING


def test_the_end_of_an_earlier_generation_does_not_undo_a_start(running: Machine, ann: User) -> None:
    off = done(running, Observed.OFF, reason=EndReason.GUEST)
    services.machine_start(machine=off, by=ann)
    assert observed_take(seen(off, Observed.OFF, generation=1, reason=EndReason.GUEST))
    off.refresh_from_db()
    assert off.power == Power.RUNNING


def test_gone_removes_the_row_only_where_that_was_wanted(running: Machine, ann: User) -> None:
    assert not observed_take(seen(running, Observed.GONE))
    asked = services.machine_delete(machine=running, name="web", by=ann)
    assert not observed_take(seen(running, Observed.GONE, generation=asked.generation - 1))
    assert Machine.objects.exists()
    assert observed_take(seen(running, Observed.GONE, operation=told(asked)))
    assert not Machine.objects.exists()
    assert state_of(asked) == "done"
    assert (asked.machine, asked.machine_name) == (None, "web")  # what was done stays on record


def test_with_a_machine_all_that_was_still_asked_of_it_ends(
    running: Machine, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stayed open would be sent again for ever: some day its host has forgotten that the machine is gone."""
    restart = services.machine_restart(machine=running, by=ann)
    asked = services.machine_delete(machine=running, name="web", by=ann)
    assert observed_take(seen(running, Observed.GONE))
    assert (state_of(restart), state_of(asked)) == ("superseded", "done")
    monkeypatch.setattr(dispatch, "send", lambda operation: pytest.fail(f"{operation} was sent"))
    assert dispatch.send_outbox() == 0


WIRE: list[Any] = [
    None,
    "text",
    [],
    {},
    {"version": 1},
    {"version": 1, "body": None},
    {"version": 1, "body": {"host": "rack-1"}},
    {"version": "1", "body": {}},
    {"version": 99, "body": "not an object"},
    {"version": 99, "body": {}},
]


@pytest.mark.parametrize("wire", WIRE, ids=repr)
def test_a_malformed_report_is_refused_and_hurts_nobody(running: Machine, wire: Any) -> None:
    tasks.told([[REPORT_PROGRESS, wire], [REPORT_OBSERVED, wire], ["gossip", wire], [wire], wire])
    tasks.told(wire)
    tasks.heartbeat(wire)
    running.refresh_from_db()
    assert running.observed == Observed.RUNNING
    assert Host.objects.get().refused_version == ""


def test_a_report_with_one_field_too_many_is_not_guessed_at(running: Machine) -> None:
    wire = seen(running, Observed.OFF).to_wire()
    wire["body"]["surprise"] = 1
    tasks.told([[REPORT_OBSERVED, wire]])
    running.refresh_from_db()
    assert running.observed == Observed.RUNNING


def test_a_report_that_cannot_be_taken_keeps_none_beside_it_from_being(
    running: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_report: object) -> None:
        raise OperationalError("database or disk is full")

    monkeypatch.setattr(reports, "progress_take", full)
    bad, good = told(newest(running)).to_wire(), seen(running, Observed.OFF).to_wire()
    tasks.told([[REPORT_PROGRESS, bad], [REPORT_OBSERVED, good]])
    running.refresh_from_db()
    assert running.observed == Observed.OFF


def test_a_host_of_another_version_is_shown_as_such_until_it_speaks_ours(rack: Host, boss: User) -> None:
    before = Host.objects.get().sequence
    tasks.heartbeat(heartbeat(memory_free_mib=1).to_wire() | {"version": 99})
    rack.refresh_from_db()
    assert (rack.refused_version, rack.sequence, rack.memory_free_mib) == ("99", before, 60000)
    assert "speaks another version" in signed_in(boss).get("/hosts/").content.decode()
    assert "version 99" in signed_in(boss).get("/hosts/rack-1/").content.decode()
    tasks.heartbeat(heartbeat().to_wire())
    rack.refresh_from_db()
    assert rack.refused_version == ""


def refusal(operation: Operation) -> Any:
    return told(operation, FAILED, error=ErrorReport(code=ErrorCode.VERSION_UNKNOWN)).to_wire()


@pytest.mark.parametrize("by", ["progress", "observed"])
def test_the_refusal_of_a_host_of_another_version_reaches_the_machines_page(
    running: Machine, ann: User, by: str, django_capture_on_commit_callbacks: Any
) -> None:
    asked = services.machine_shut_down(machine=running, by=ann)
    with django_capture_on_commit_callbacks() as told_pages:
        if by == "progress":
            tasks.told([[REPORT_PROGRESS, refusal(asked) | {"version": 99}]])
        else:
            wire = seen(running, operation=told(asked, FAILED)).to_wire()
            tasks.told([[REPORT_OBSERVED, wire | {"version": 99}]])
    assert state_of(asked) == "failed"
    assert (asked.error_code, "99" in asked.error_detail) == ("version_unknown", True)
    assert any("machine_changed" in repr(each) for each in told_pages)
    page = signed_in(ann).get(f"/machines/{running.pk}/").content.decode()
    assert "of another version than this site" in page


def test_a_report_of_another_version_ends_nothing_that_is_over(running: Machine) -> None:
    create = newest(running)
    tasks.told([[REPORT_PROGRESS, refusal(create) | {"version": 99}]])
    assert state_of(create) == "done"
    bodies: list[Any] = [{"operation_id": value} for value in (str(nobody()), "x", 7)]
    for body in (*bodies, {"operation": []}):
        for kind in (REPORT_PROGRESS, REPORT_OBSERVED):
            tasks.told([[kind, {"version": 99, "body": body}]])


def test_heartbeats_out_of_order_leave_the_newest(rack: Host) -> None:
    old, new = heartbeat(memory_free_mib=1000), heartbeat(memory_free_mib=2000)
    assert heartbeat_take(new)
    assert not heartbeat_take(old)
    assert not heartbeat_take(new)
    assert Host.objects.get().memory_free_mib == 2000


def test_an_old_heartbeat_brings_no_old_machines(running: Machine) -> None:
    late = heartbeat(machines=(seen(running, Observed.OFF),))
    heartbeat_take(heartbeat())
    tasks.heartbeat(late.to_wire())
    running.refresh_from_db()
    assert running.observed == Observed.RUNNING


def test_a_heartbeat_without_news_of_a_machine_is_newer_than_what_was_said_before_it(
    running: Machine,
) -> None:
    late = seen(running, Observed.PAUSED)
    tasks.heartbeat(heartbeat(machines=(seen(running, accelerator=None),)).to_wire())
    assert not observed_take(late)
    running.refresh_from_db()
    assert running.observed == Observed.RUNNING


def test_a_heartbeat_speaks_for_its_own_hosts_machines_only(running: Machine) -> None:
    host_heard("rack-2")
    forged = (seen(running, Observed.OFF), seen(running, Observed.OFF, host="rack-2"))
    tasks.heartbeat(heartbeat("rack-2", machines=forged).to_wire())
    running.refresh_from_db()
    assert running.observed == Observed.RUNNING


def test_a_host_without_heartbeat_is_silent_and_every_page_says_so(
    running: Machine, ann: User, boss: User, settings: LazySettings
) -> None:
    assert silence_notice() == []
    silence("rack-1")
    assert silence_notice() == ["rack-1"]
    assert silence_notice() == []  # told once
    machine_page = signed_in(ann).get(f"/machines/{running.pk}/").content.decode()
    assert "Host not reachable" in machine_page
    assert "may well be running" in machine_page
    assert "Host not reachable" in signed_in(ann).get("/machines/").content.decode()
    for address in ("/hosts/", "/hosts/rack-1/"):
        page = signed_in(boss).get(address).content.decode()
        assert "Not reachable" in page
        assert "Hosts that cannot be reached" in page
    heartbeat_take(heartbeat())
    page = signed_in(ann).get(f"/machines/{running.pk}/").content.decode()
    assert "Host not reachable" not in page
    assert "Running" in page


def test_a_machine_of_a_silent_host_can_still_be_told_what_to_do(running: Machine, ann: User) -> None:
    silence("rack-1")
    answer = signed_in(ann).post(f"/machines/{running.pk}/shut-down/", follow=True)
    assert "it begins as soon as the host is back" in answer.content.decode()
    assert newest(running).kind == Kind.SHUT_DOWN


@pytest.mark.parametrize("count", [5, 50])
def test_a_heartbeat_without_news_costs_the_same_however_many_machines_it_tells_of(
    rack: Host, ann: User, count: int, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    machines = [done(machine_of(ann, f"box {number}")) for number in range(count)]
    tasks.heartbeat(heartbeat(machines=tuple(seen(each, sequence=later()) for each in machines)).to_wire())
    beat = heartbeat(machines=tuple(seen(each, sequence=later()) for each in machines))
    with django_assert_max_num_queries(14):  # savepoints count
        tasks.heartbeat(beat.to_wire())
    known = Machine.objects.values_list("observed_sequence", flat=True)
    assert set(known) == {each.sequence for each in beat.machines}


def test_one_machine_with_news_in_a_heartbeat_is_written_down_and_told(
    rack: Host, ann: User, django_capture_on_commit_callbacks: Any
) -> None:
    quiet, changed = (done(machine_of(ann, name)) for name in ("quiet", "changed"))
    tasks.heartbeat(
        heartbeat(machines=(seen(quiet, sequence=later()), seen(changed, sequence=later()))).to_wire()
    )
    beat = heartbeat(
        machines=(seen(quiet, sequence=later()), seen(changed, Observed.PAUSED, sequence=later()))
    )
    with django_capture_on_commit_callbacks() as told_pages:
        tasks.heartbeat(beat.to_wire())
    assert len(told_pages) == 1
    changed.refresh_from_db()
    assert changed.observed == Observed.PAUSED
