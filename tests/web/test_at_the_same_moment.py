"""Many requests at one moment, in real threads on the real database: each is answered, and no two get the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.conf import LazySettings
from django.db import connections

from portal.accounts import invitations
from portal.accounts.models import User
from portal.accounts.people import Roles, switch_off
from portal.accounts.services import ensure_administrator
from portal.activity.models import Operation
from portal.console.services import ticket_issue, ticket_redeem
from portal.machines import services
from portal.machines.models import Machine, Nic
from portal.machines.reports import observed_take, progress_take
from portal.networks.changing import NetworkWish, network_change_ipv6, network_create
from portal.networks.models import Network, PublishedPort
from portal.networks.ports import port_publish
from portal.networks.services import private_network
from portal.refusal import Refused
from portal.teams.models import Role
from tests.web.people import done, host_heard, machine_of, newest, seen, told
from workers.contract.messages import Observed, OperationState
from workers.contract.networks import NetworkKind, Protocol

pytestmark = pytest.mark.django_db(transaction=True)
AT_ONCE = 20


def at_once(act: Callable[[int], object]) -> list[object]:
    """What each of the threads got, a refusal's words where it was refused."""
    gate = threading.Barrier(AT_ONCE)

    def one(number: int) -> object:
        try:
            gate.wait(30)
            return act(number)
        except Refused as refusal:
            return refusal.message
        finally:
            connections.close_all()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(one, range(AT_ONCE)))


@pytest.fixture
def ann(transactional_db: None) -> User:
    return User.objects.create_user("ann")


def made(answers: list[object]) -> int:
    return sum(isinstance(each, Machine) for each in answers)


def test_of_twenty_wishes_for_one_name_exactly_one_is_granted(ann: User) -> None:
    host_heard()
    answers = at_once(lambda _: machine_of(ann, "web"))
    assert made(answers) == 1, answers
    refusals = [each for each in answers if isinstance(each, str)]
    assert all("already" in words or "at the same moment" in words for words in refusals)
    assert Machine.objects.count() == Nic.objects.count() == Operation.objects.count() == 1


def test_twenty_machines_made_at_once_have_addresses_and_macs_of_their_own(ann: User) -> None:
    host_heard()
    answers = at_once(lambda number: machine_of(ann, f"box {number}"))
    assert made(answers) == AT_ONCE, answers
    for field in ("address", "mac"):
        assert len(set(Nic.objects.values_list(field, flat=True))) == AT_ONCE
    assert Operation.objects.count() == AT_ONCE


def test_a_hosts_memory_is_promised_only_once(ann: User) -> None:
    for name in ("rack-1", "rack-2"):
        host_heard(name, memory_free_mib=3 * 512 + 100)
    answers = at_once(lambda number: machine_of(ann, f"box {number}", memory_mib=512))
    assert made(answers) == 6, answers
    assert Machine.objects.filter(host__name="rack-1").count() == 3


def test_of_twenty_presses_on_start_one_counts(ann: User) -> None:
    host_heard()
    machine = done(machine_of(ann), Observed.OFF)
    answers = at_once(lambda _: services.machine_start(machine=machine, by=ann))
    assert sum(isinstance(each, Operation) for each in answers) == 1, answers
    machine.refresh_from_db()
    assert (machine.run, machine.generation) == (2, 2)


def test_a_generation_is_given_out_once(ann: User) -> None:
    host_heard()
    machine = done(machine_of(ann))
    answers = at_once(lambda _: services.machine_force_off(machine=machine, by=ann))
    generations = sorted(each.generation for each in answers if isinstance(each, Operation))
    assert generations == list(range(2, AT_ONCE + 2))
    assert sorted(Operation.objects.values_list("generation", flat=True)) == [1, *generations]


def test_reports_that_arrive_at_once_leave_the_newest(ann: User) -> None:
    host_heard()
    machine = machine_of(ann)
    words = [told(newest(machine), OperationState.RUNNING) for _ in range(AT_ONCE)]
    looks = [seen(machine, (Observed.RUNNING, Observed.PAUSED)[n % 2]) for n in range(AT_ONCE)]
    at_once(lambda number: (progress_take(words[number]), observed_take(looks[number])))
    machine.refresh_from_db()
    assert machine.observed_sequence == looks[-1].sequence
    assert machine.observed == Observed.PAUSED
    assert newest(machine).sequence == words[-1].sequence


def test_a_console_ticket_opens_one_of_twenty_doors(ann: User) -> None:
    host_heard()
    machine = done(machine_of(ann))
    ticket = ticket_issue(user=ann, session_key="s", machine=machine)
    answers = at_once(
        lambda _: ticket_redeem(ticket=ticket, user=ann, session_key="s", machine_id=machine.pk)
    )
    assert made(answers) == 1


def test_the_first_administrator_is_made_once(transactional_db: None) -> None:
    at_once(lambda _: ensure_administrator())
    assert User.objects.filter(is_staff=True).count() == 1


def test_of_twenty_people_who_want_the_last_three_ports_three_get_them(
    ann: User, settings: LazySettings
) -> None:
    settings.PUBLISHED_PORTS = range(20000, 20003)
    host_heard()
    machines = [done(machine_of(ann, f"box {number}")) for number in range(AT_ONCE)]
    nics = [machine.nics.get().pk for machine in machines]
    answers = at_once(
        lambda number: port_publish(
            machine=machines[number],
            nic_id=nics[number],
            protocol=Protocol.TCP,
            guest_port=22,
            host_port=None,
            by=ann,
        )
    )
    assert sum(isinstance(each, Operation) for each in answers) == 3, answers
    assert sorted(PublishedPort.objects.values_list("host_port", flat=True)) == [20000, 20001, 20002]
    assert all("in use" in each for each in answers if isinstance(each, str)), answers


def test_of_twenty_networks_that_overlap_one_is_made(ann: User) -> None:
    answers = at_once(
        lambda number: network_create(
            wish=NetworkWish(name=f"net {number}", kind=NetworkKind.NAT, subnet="10.0.0.0/24"), by=ann
        )
    )
    assert sum(isinstance(each, Network) for each in answers) == 1, answers


def test_machines_that_are_made_while_their_network_gets_ipv6_have_it_or_say_so(
    ann: User, boss: User
) -> None:
    host_heard()
    network = private_network()

    def act(number: int) -> object:
        if number == 0:
            network_change_ipv6(network=network, subnet6="fd12::/64", routed=False, by=boss)
            return None
        return machine_of(ann, f"box {number}")

    answers = at_once(act)
    network.refresh_from_db()
    with_it = Nic.objects.filter(address6__isnull=False).count()
    assert with_it == (Nic.objects.count() if network.subnet6 else 0), answers


def test_of_twenty_who_follow_one_invitation_one_comes_in(ann: User) -> None:
    wish = invitations.Wish("eve@example.org", "", Roles(), None, Role.MEMBER)
    token = invitations.invite(wish=wish, by=ann).split("/")[-2]
    answers = at_once(
        lambda number: invitations.accept(token=token, name=f"eve{number}", password="a good long one 7")
    )
    assert sum(isinstance(each, User) for each in answers) == 1
    assert User.objects.filter(username__startswith="eve").count() == 1
    assert {each for each in answers if isinstance(each, str)} == {
        "This link is good no longer: it was used, withdrawn, or its week is over. Ask for another."
    }


def test_of_twenty_administrators_who_are_switched_off_one_stays(ann: User) -> None:
    bosses = [User.objects.create_user(f"boss{number}", is_staff=True) for number in range(AT_ONCE)]
    answers = at_once(lambda number: switch_off(user=bosses[number]))
    assert sum(isinstance(each, str) and "last administrator" in each for each in answers) == 1
    assert User.objects.filter(is_staff=True, is_active=True).count() == 1
