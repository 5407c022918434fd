"""Acts and jobs on their way: what keeps others waiting, what ends early, what comes after what."""

from __future__ import annotations

from uuid import uuid4

import pytest
import redis
from django.db import transaction

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.fleet.models import Host
from portal.machines import services
from portal.machines.asking import change, record, record_job, wanted
from portal.machines.dispatch import send_outbox
from portal.machines.models import Machine
from portal.machines.reports import progress_take
from portal.refusal import Refused
from tests.web.people import machine_of, newest, signed_in, told
from tests.web.test_outbox import queued
from workers.contract.acts import ExportMachine
from workers.contract.jobs import ForgetBase
from workers.contract.messages import (
    TASK_APPLY,
    TASK_JOB,
    ApplyMachine,
    DoJob,
    OperationState,
    Progress,
)
from workers.contract.version import from_wire

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def exported(running: Machine, ann: User) -> Operation:
    """Ann's machine while it is being exported."""
    with transaction.atomic():
        act = ExportMachine(export_id=uuid4(), format="ova")
        return change(wanted(running), Kind.EXPORT, ann, act=act, about=act.export_id)


def test_an_act_travels_with_the_whole_machine(exported: Operation, running: Machine) -> None:
    message = from_wire(ApplyMachine, exported.message)
    assert message.act is not None
    assert (message.act.kind, message.spec.machine_id) == ("export_machine", running.pk)
    assert message.spec.generation == exported.generation == running.generation + 1


def test_while_it_goes_on_everything_else_is_refused_in_words(
    exported: Operation, running: Machine, ann: User
) -> None:
    for ask in (services.machine_shut_down, services.machine_restart, services.machine_finish_installation):
        with pytest.raises(Refused, match=r"“Export” is under way .* Nothing was changed"):
            ask(machine=running, by=ann)
    assert newest(running) == exported
    progress_take(told(exported))
    assert services.machine_shut_down(machine=running, by=ann).kind == Kind.SHUT_DOWN


def test_it_can_be_cut_off_all_the_same(exported: Operation, running: Machine, ann: User) -> None:
    assert services.machine_force_off(machine=running, by=ann).generation > exported.generation


def test_cancelling_sends_a_newer_wish_without_the_act_and_says_so(
    exported: Operation, running: Machine, ann: User
) -> None:
    browser = signed_in(ann)
    page = f"/machines/{running.pk}/"
    assert f'action="{page}cancel/"' in browser.get(page).content.decode()
    assert browser.post(f"{page}cancel/").status_code == 302
    cancel = newest(running)
    assert (cancel.kind, cancel.about) == (Kind.CANCEL, exported.pk)
    message = from_wire(ApplyMachine, cancel.message)
    assert (message.act, message.spec.generation) == (None, exported.generation + 1)
    progress_take(told(exported, OperationState.SUPERSEDED))
    progress_take(told(cancel))
    shown = browser.get(page).content.decode()
    assert "Cancelled" in shown
    assert "Overtaken" not in shown
    with pytest.raises(Refused, match="nothing under way"):
        services.operation_cancel(machine=running, by=ann)


def test_what_comes_after_another_is_sent_when_that_is_done(
    wired: redis.Redis, exported: Operation, ann: User
) -> None:
    clone = machine_of(ann, "clone")
    wired.delete("host.rack-1")
    with transaction.atomic():
        follower = record(clone, Kind.CREATE, ann, after=exported)
    assert send_outbox() == 0
    progress_take(told(exported))
    [(task, wire)] = queued(wired)
    assert (task, from_wire(ApplyMachine, wire).operation_id) == (TASK_APPLY, follower.pk)


@pytest.mark.parametrize("end", [OperationState.FAILED, OperationState.SUPERSEDED])
def test_and_is_given_up_in_words_where_that_was_not(
    wired: redis.Redis, exported: Operation, ann: User, end: OperationState
) -> None:
    clone = machine_of(ann, "clone")
    wired.delete("host.rack-1")
    with transaction.atomic():
        follower = record(clone, Kind.CREATE, ann, after=exported)
    progress_take(told(exported, end))
    follower.refresh_from_db()
    assert (follower.state, follower.error_code) == (OperationState.FAILED, "origin_failed")
    assert queued(wired) == []
    assert send_outbox() == 0


def test_a_job_goes_to_its_host_and_its_end_comes_back(wired: redis.Redis, rack: Host, boss: User) -> None:
    with transaction.atomic():
        asked = record_job(rack, Kind.FORGET_BASE, boss, job=ForgetBase(base_id=uuid4()))
    [(task, wire)] = queued(wired)
    assert (task, from_wire(DoJob, wire).operation_id) == (TASK_JOB, asked.pk)
    assert progress_take(
        Progress(
            operation_id=asked.pk,
            machine_id=None,
            generation=0,
            sequence=1,
            state=OperationState.DONE,
        )
    )
    asked.refresh_from_db()
    assert (asked.state, asked.finished_at is not None) == (OperationState.DONE, True)
