"""Pause, resume, hibernate, wake, reset on the pages: what is asked of the host, what is refused, what a failure leaves."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from portal.accounts.models import User
from portal.fleet.selectors import candidates
from portal.machines import power, services
from portal.machines.models import Machine
from portal.machines.reports import observed_take, progress_take
from portal.refusal import Refused
from tests.web.people import done, host_heard, machine_of, newest, seen, signed_in, told
from workers.contract.acts import Reset, Resume
from workers.contract.errors import ErrorCode
from workers.contract.messages import (
    ApplyMachine,
    EndReason,
    ErrorReport,
    Observed,
    OperationState,
    PauseReason,
    Step,
    StepReport,
    StepState,
)
from workers.contract.spec import Autostart, Power
from workers.contract.version import from_wire

pytestmark = pytest.mark.django_db


def page_of(machine: Machine, user: User) -> str:
    return " ".join(signed_in(user).get(f"/machines/{machine.pk}/").content.decode().split())


def press(machine: Machine, user: User, button: str, **fields: str) -> str:
    answer = signed_in(user).post(f"/machines/{machine.pk}/{button}/", fields, follow=True)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def asked(machine: Machine) -> ApplyMachine:
    return from_wire(ApplyMachine, newest(machine).message)


def still(machine: Machine, reason: PauseReason = PauseReason.PERSON) -> Machine:
    """The machine stands still for this reason."""
    if reason is PauseReason.PERSON and machine.power == Power.RUNNING:
        power.machine_pause(machine=machine, by=machine.owner)
    return done(machine, Observed.PAUSED, paused_for=reason)


def hibernated(machine: Machine) -> Machine:
    power.machine_hibernate(machine=machine, by=machine.owner)
    return done(machine, Observed.SAVED, run=machine.run)


def failed(machine: Machine, code: ErrorCode = ErrorCode.MONITOR_FAILED) -> None:
    """What was asked last has failed."""
    end = told(newest(machine), OperationState.FAILED, error=ErrorReport(code=code, detail="no"))
    assert progress_take(end)
    machine.refresh_from_db()


def test_pause_and_resume_go_to_the_host_and_show_on_the_page(running: Machine, ann: User) -> None:
    press(running, ann, "pause")
    assert (asked(running).spec.power, asked(running).act) == (Power.PAUSED, None)
    assert "Being paused" in page_of(running, ann)
    done(running, Observed.PAUSED, paused_for=PauseReason.PERSON)
    page = page_of(running, ann)
    assert "Press Resume to let it go on" in page
    assert 'data-has-screen="yes"' in page
    press(running, ann, "resume")
    assert (asked(running).spec.power, asked(running).act) == (Power.RUNNING, None)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (PauseReason.NO_SPACE, "disk is full, so the machine was stopped before anything was lost"),
        (PauseReason.IO_ERROR, "Its disk could not be read or written"),
        (PauseReason.PANIC, "Its own system crashed \\(kernel panic\\)"),
    ],
)
def test_why_it_stands_still_is_said_with_what_to_do(
    running: Machine, ann: User, reason: PauseReason, words: str
) -> None:
    still(running, reason)
    page = page_of(running, ann)
    assert re.search(words, page)
    if reason is PauseReason.PANIC:
        assert f"/machines/{running.pk}/resume/" not in page
        with pytest.raises(Refused, match="Reset the machine"):
            power.machine_resume(machine=running, by=ann)
        press(running, ann, "reset")
        assert (asked(running).spec.power, asked(running).act) == (Power.RUNNING, Reset())
    else:
        press(running, ann, "resume")
        assert (asked(running).spec.power, asked(running).act) == (Power.RUNNING, Resume())


def test_a_hibernated_machine_takes_no_memory_and_is_only_woken_started_anew_or_ended(
    running: Machine, ann: User
) -> None:
    hibernated(running)
    page = page_of(running, ann)
    assert "Hibernated" in page
    assert "Switch off" in page
    for refused in (
        services.machine_start, services.machine_shut_down, services.machine_restart,
        services.machine_finish_installation, power.machine_pause, power.machine_reset, power.machine_hibernate,
    ):  # fmt: skip
        with pytest.raises(Refused, match=r"hibernated\. Wake it first\. Nothing was changed"):
            refused(machine=running, by=ann)
    power.machine_set_autostart(machine=running, autostart=Autostart.NEVER, by=ann)
    assert asked(running).spec.power is Power.SAVED
    done(running, Observed.SAVED, run=running.run)

    press(running, ann, "wake")
    woken = asked(running).spec
    assert (woken.power, woken.run) == (Power.RUNNING, running.run)
    with pytest.raises(Refused, match="being started already"):
        power.machine_wake(machine=running, by=ann)


def test_starting_anew_is_a_new_run_and_a_wake_or_start_that_fails_leaves_it_hibernated(
    running: Machine, ann: User
) -> None:
    hibernated(running)
    run = running.run
    power.machine_wake(machine=running, by=ann)
    failed(running, ErrorCode.WAKE_FAILED)
    assert (running.power, running.run) == (Power.SAVED, run)
    assert "Nothing was lost: its saved memory is kept" in page_of(running, ann)
    press(running, ann, "start-anew")
    assert asked(running).spec.run == run + 1
    failed(running, ErrorCode.DISC_UNREACHABLE)
    assert (running.power, running.run) == (Power.SAVED, run)
    press(running, ann, "force-off")
    assert asked(running).spec.power is Power.OFF


@pytest.mark.parametrize(
    ("button", "before", "after"),
    [
        ("pause", Observed.RUNNING, Power.RUNNING),
        ("hibernate", Observed.RUNNING, Power.RUNNING),
        ("reset", Observed.RUNNING, Power.RUNNING),
        ("resume", Observed.PAUSED, Power.PAUSED),
        ("hibernate", Observed.PAUSED, Power.PAUSED),
    ],
)
def test_what_failed_is_not_kept_wanting(
    running: Machine, ann: User, button: str, before: Observed, after: Power
) -> None:
    if before is Observed.PAUSED:
        still(running)
    press(running, ann, button)
    failed(running, ErrorCode.SAVE_FAILED)
    assert running.power == after


@pytest.mark.parametrize("before", [Power.RUNNING, Power.PAUSED])
def test_a_hibernation_that_is_cancelled_wants_what_was_wanted_before(
    running: Machine, ann: User, before: Power
) -> None:
    if before is Power.PAUSED:
        still(running)
    press(running, ann, "hibernate")
    assert ">Cancel<" in page_of(running, ann)
    press(running, ann, "cancel")
    assert asked(running).spec.power is before


def test_a_machine_that_stood_still_or_was_off_runs_after_its_hosts_reboot(
    running: Machine, ann: User
) -> None:
    still(running)
    operation = newest(running)
    end = told(operation)
    # What was seen before the wish was carried out says nothing.
    assert observed_take(seen(running, operation=None))
    running.refresh_from_db()
    assert running.power == Power.PAUSED
    assert observed_take(seen(running, operation=end))
    running.refresh_from_db()
    assert running.power == Power.RUNNING


def test_a_machine_that_is_to_stay_off_after_its_hosts_reboot_is_not_wanted_any_more(
    running: Machine, ann: User
) -> None:
    page = press(running, ann, "autostart", autostart="never")
    assert '<option value="never" selected>' in page
    assert asked(running).spec.autostart is Autostart.NEVER
    done(running, Observed.OFF, reason=EndReason.HOST)
    assert running.power == Power.OFF
    assert "Its host was restarted" in page_of(running, ann)
    assert "Choose one of the three" in press(running, ann, "autostart", autostart="sometimes")


def test_a_crash_of_a_machine_that_stood_still_is_noted(running: Machine) -> None:
    still(running)
    done(running, Observed.OFF, reason=EndReason.CRASH, exit_detail="signal SIGKILL\nlast words")
    assert running.power == Power.OFF
    assert "last words" in page_of(running, running.owner)


def test_how_often_it_restarted_itself_is_said(running: Machine, ann: User) -> None:
    assert "restarted itself" not in page_of(running, ann)
    done(running, guest_resets=3)
    assert "restarted itself 3 times" in page_of(running, ann)


def test_while_a_guest_is_asked_the_page_counts_down_and_then_offers_to_force(
    running: Machine, ann: User
) -> None:
    operation = services.machine_shut_down(machine=running, by=ann)
    asking = StepReport(step=Step.ASK_GUEST, state=StepState.RUNNING, percent=25)
    assert progress_take(told(operation, OperationState.RUNNING, steps=(asking,)))
    page = page_of(running, ann)
    assert "<strong data-countdown>45</strong> s" in page
    assert "Do not wait: force off" in page
    failed(running, ErrorCode.GUEST_IGNORED_SHUTDOWN)
    page = page_of(running, ann)
    assert "is still running after a minute" in page
    assert page.count('data-opens="force-off"') == 2


def test_a_machine_that_stands_still_has_a_console(running: Machine, ann: User) -> None:
    still(running, PauseReason.PANIC)
    assert signed_in(ann).post(reverse("console:ticket", args=(running.pk,))).status_code == 200


def test_memory_of_a_paused_machine_is_not_given_to_another(ann: User) -> None:
    host_heard(memory_total_mib=4096)  # so that what was promised is what decides
    first = done(machine_of(ann))
    free = candidates()[0].memory_free_mib
    still(first)
    assert candidates()[0].memory_free_mib == free
    hibernated(first)
    assert candidates()[0].memory_free_mib == free + first.memory_mib
