"""The outbox on a real Redis: what was asked reaches its host's queue, whatever happens to the broker meanwhile."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.db import transaction
from django.utils import timezone
from kombu import pools

from portal.accounts.models import User
from portal.activity.models import Operation
from portal.fleet.models import Host
from portal.machines import dispatch, services, tasks
from portal.machines.dispatch import UNHEARD_SECONDS, send_outbox
from portal.machines.models import Machine
from portal.machines.reports import progress_take
from portal.machines.specs import spec_of
from portal.refusal import Refused
from tests.lab.broker import Broker
from tests.web.people import (
    heartbeat,
    host_heard,
    image_named,
    machine_of,
    newest,
    signed_in,
    silence,
    told,
)
from workers.contract.messages import TASK_APPLY, TASK_FORGET_IMAGE, ApplyMachine, OperationState
from workers.contract.version import from_wire

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rack(transactional_db: None) -> Host:
    return host_heard()


@pytest.fixture
def ann(transactional_db: None) -> User:
    return User.objects.create_user("ann")


def queued(wired: redis.Redis, host: str = "rack-1") -> list[tuple[str, Any]]:
    """What waits for the host, oldest first: the task's name and its one argument."""
    found = []
    for raw in reversed(wired.lrange(f"host.{host}", 0, -1)):
        message = json.loads(raw)
        arguments, _words, _more = json.loads(base64.b64decode(message["body"]))
        found.append((message["headers"]["task"], arguments[0]))
    return found


def sent(operation: Operation) -> bool:
    operation.refresh_from_db()
    return operation.sent_at is not None


def forget_what_was_sent_for(seconds: float) -> None:
    """As if everything had been sent so long ago."""
    Operation.objects.update(sent_at=timezone.now() - timedelta(seconds=seconds))


def test_what_is_asked_stands_at_once_in_its_hosts_own_queue(
    wired: redis.Redis, rack: Host, ann: User
) -> None:
    host_heard("rack-2", memory_free_mib=100)
    machine = machine_of(ann)
    assert queued(wired) == [(TASK_APPLY, newest(machine).message)]
    assert queued(wired, "rack-2") == []
    assert sent(newest(machine))
    message = from_wire(ApplyMachine, queued(wired)[0][1])
    assert (message.operation_id, message.spec) == (newest(machine).pk, spec_of(machine))
    assert send_outbox() == 0


def test_what_was_rolled_back_is_never_sent(wired: redis.Redis, rack: Host, ann: User) -> None:
    def fails_after_all() -> None:
        with transaction.atomic():
            machine_of(ann)
            raise RuntimeError("the power went away here")

    with pytest.raises(RuntimeError):
        fails_after_all()
    assert queued(wired) == []
    with pytest.raises(Refused):
        machine_of(ann, cpus=99)
    assert queued(wired) == []
    assert not Operation.objects.exists()


def test_with_the_broker_away_a_request_is_answered_and_nothing_is_lost(
    wired: redis.Redis, broker: Broker, rack: Host, ann: User
) -> None:
    running = machine_of(ann, "before")  # the connection to the broker is open, and about to break
    broker.close()
    browser = signed_in(ann)
    answer = browser.post(f"/machines/{running.pk}/force-off/", follow=True)
    assert answer.status_code == 200
    assert "kept safe and is handed to the host as soon as possible" in answer.content.decode()
    machine = machine_of(ann, "after")
    page = browser.get(f"/machines/{machine.pk}/").content.decode()
    assert "kept safe" in page
    waiting = [newest(running), newest(machine)]
    assert not any(sent(each) for each in waiting)
    before = [each.message for each in waiting]
    assert send_outbox() == 0
    assert not any(sent(each) for each in waiting)

    broker.start()
    assert send_outbox() == 2
    assert queued(wired) == [(TASK_APPLY, message) for message in before]
    assert all(sent(each) for each in waiting)
    assert [each.message for each in waiting] == before
    assert send_outbox() == 0


@pytest.mark.timeout(60)
def test_with_a_broker_that_hangs_a_request_is_answered_before_it_goes_on(
    wired: redis.Redis, broker: Broker, rack: Host, ann: User
) -> None:
    machine = machine_of(ann)
    with broker.hanging():
        answer = signed_in(ann).post(f"/machines/{machine.pk}/force-off/", follow=True)
        assert answer.status_code == 200
        assert not sent(newest(machine))
    send_outbox()
    assert sent(newest(machine))
    assert (TASK_APPLY, newest(machine).message) in queued(wired)


@pytest.mark.timeout(60)
def test_a_request_that_waits_in_vain_for_its_turn_at_the_broker_is_answered_all_the_same(
    wired: redis.Redis, rack: Host, ann: User
) -> None:
    machine = machine_of(ann)
    [producers] = pools.producers.values()
    held = [
        producers.acquire() for _ in range(producers.limit)
    ]  # by others, who wait for a broker that hangs
    try:
        answer = signed_in(ann).post(f"/machines/{machine.pk}/force-off/", follow=True)
    finally:
        for producer in held:
            producer.release()
    assert answer.status_code == 200
    assert not sent(newest(machine))
    assert send_outbox() == 1


def test_a_broker_that_forgot_everything_gets_what_a_living_host_has_not_answered(
    wired: redis.Redis, broker: Broker, rack: Host, ann: User
) -> None:
    machine = machine_of(ann)
    broker.close()  # this Redis keeps nothing
    broker.start()
    assert queued(wired) == []
    assert send_outbox() == 0  # it may still be on its way
    forget_what_was_sent_for(UNHEARD_SECONDS + 1)
    assert send_outbox() == 1
    assert queued(wired) == [(TASK_APPLY, newest(machine).message)]
    assert send_outbox() == 0  # the clock begins anew


def test_a_silent_host_is_not_flooded(wired: redis.Redis, rack: Host, ann: User) -> None:
    machine = machine_of(ann)
    silence("rack-1")
    forget_what_was_sent_for(3600)
    assert send_outbox() == 0
    tasks.heartbeat(heartbeat().to_wire())
    assert send_outbox() == 1
    assert [message for _task, message in queued(wired)] == [newest(machine).message] * 2


def test_what_a_host_works_on_is_left_alone_until_it_is_stuck(
    wired: redis.Redis, rack: Host, ann: User
) -> None:
    machine = machine_of(ann)
    progress_take(told(newest(machine), OperationState.RUNNING))
    forget_what_was_sent_for(3600)
    assert send_outbox() == 0
    Operation.objects.update(reported_at=timezone.now() - timedelta(seconds=120))
    assert send_outbox() == 1
    assert send_outbox() == 0  # the clock begins anew, though the host still says nothing


def test_what_a_host_began_and_never_spoke_of_again_is_sent_by_when_it_was_sent(
    wired: redis.Redis, rack: Host, ann: User
) -> None:
    machine_of(ann)
    Operation.objects.update(state=OperationState.RUNNING, reported_at=None)
    assert send_outbox() == 0
    forget_what_was_sent_for(120)
    assert send_outbox() == 1
    assert send_outbox() == 0


def test_what_has_ended_is_never_sent_again(wired: redis.Redis, rack: Host, ann: User) -> None:
    machine = machine_of(ann)
    progress_take(told(newest(machine)))
    forget_what_was_sent_for(3600)
    Operation.objects.update(sent_at=None)
    assert send_outbox() == 0
    assert len(queued(wired)) == 1


def test_wishes_are_sent_in_the_order_in_which_they_were_made(
    wired: redis.Redis, broker: Broker, rack: Host, ann: User
) -> None:
    broker.close()
    machine = machine_of(ann)
    services.machine_force_off(machine=machine, by=ann)
    services.machine_delete(machine=machine, name="web", by=ann)
    broker.start()
    tasks.send_outbox()
    generations = [from_wire(ApplyMachine, wire).spec.generation for _task, wire in queued(wired)]
    assert generations == [1, 2, 3]


def test_a_deleted_disc_is_forgotten_by_every_host_and_with_the_broker_away_it_is_deleted_too(
    wired: redis.Redis, broker: Broker, rack: Host, ann: User
) -> None:
    host_heard("rack-2")
    first, second = (image_named(name, added_by=ann) for name in ("one", "two"))
    first_id = str(first.pk)
    signed_in(ann).post(f"/discs/{first.pk}/delete/")
    for host in ("rack-1", "rack-2"):
        [(task, wire)] = queued(wired, host)
        assert (task, wire["body"]) == (TASK_FORGET_IMAGE, {"image_id": first_id})
    broker.close()
    assert "was deleted" in signed_in(ann).post(f"/discs/{second.pk}/delete/", follow=True).content.decode()


def test_a_wish_whose_host_is_no_longer_known_is_not_sent_anywhere(
    wired: redis.Redis, rack: Host, ann: User
) -> None:
    machine = machine_of(ann)
    operation = newest(machine)
    Machine.objects.all().delete()
    Operation.objects.update(host=None, sent_at=None)
    operation.refresh_from_db()
    assert not dispatch.send(operation)
    assert len(queued(wired)) == 1
