"""Many requests at one moment, in real threads on the real database: each is answered, and no two get the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv6Address
from typing import cast

import pytest
from django.conf import LazySettings
from django.db import connections, transaction

from portal.accounts import invitations
from portal.accounts.models import User
from portal.accounts.people import Roles, switch_off
from portal.accounts.services import ensure_administrator
from portal.activity.models import Kind, Operation
from portal.console.services import ticket_issue, ticket_redeem
from portal.machines import services
from portal.machines.address_locks import card_lock
from portal.machines.models import Machine, Nic
from portal.machines.reports import observed_take, progress_take
from portal.networks.changing import NetworkWish, network_change_ipv6, network_create
from portal.networks.models import Network, PublishedPort
from portal.networks.ports import port_publish
from portal.networks.services import private_network
from portal.networks.uplinks import uplink_set
from portal.quotas.account import Account
from portal.quotas.amounts import Limits
from portal.quotas.services import quota_set
from portal.quotas.usage import used_by
from portal.refusal import Refused
from portal.requests.deciding import request_approve, request_decline
from portal.requests.services import machine_ask
from portal.teams.models import Role
from tests.web.people import done, host_heard, interface, machine_of, newest, seen, signed_in, told, wish
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


def test_of_twenty_cards_that_are_locked_to_one_address_at_once_one_is(ann: User) -> None:
    host = host_heard(interfaces=(interface("br0", "eth0"),))
    boss = User.objects.create_user("boss", is_staff=True)
    lan = network_create(wish=NetworkWish("office", NetworkKind.BRIDGED), by=boss)
    uplink_set(network=lan, host=host, bridge="br0", by=boss)
    cards = [done(machine_of(ann, f"box {number}", network=lan)).nics.get() for number in range(AT_ONCE)]
    answers = at_once(
        lambda number: card_lock(
            machine=cards[number].machine,
            nic_id=cards[number].pk,
            address=None,
            address6=IPv6Address("2001:db8::7"),
            by=boss,
        )
    )
    assert sum(isinstance(each, Operation) for each in answers) == 1, answers
    assert all("is locked to this address already" in each for each in answers if isinstance(each, str))
    assert Nic.objects.filter(address6="2001:db8::7").count() == 1


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


def test_of_two_hundred_requests_from_twenty_connections_as_many_are_granted_as_the_quota_has(
    ann: User,
) -> None:
    """Each connection asks ten times by the page that people use."""
    host_heard(memory_free_mib=60_000)
    quota_set(of=ann, limits=Limits(machines=10, cpus=100))
    browsers = [signed_in(ann) for _ in range(AT_ONCE)]
    fields = {"size": "small", "disk_gib": 1, "disk_kind": "growing", "network": private_network().pk}

    def act(number: int) -> list[int]:
        return [
            browsers[number].post("/machines/new/", fields | {"name": f"box {number} {n}"}).status_code
            for n in range(10)
        ]

    answers = [each for answer in at_once(act) for each in cast(list[int], answer)]
    assert sorted(answers) == [302] * 10 + [422] * 190
    assert Machine.objects.count() == Operation.objects.count() == 10
    assert used_by(Account(ann.pk)).machines == 10
    machine = Machine.objects.all()[0]
    services.machine_delete(machine=machine, name=machine.name, by=ann)
    assert made(at_once(lambda number: machine_of(ann, f"next {number}"))) == 1  # its share is there again


def test_different_ways_of_taking_more_hold_one_quota_together(ann: User) -> None:
    host_heard()
    machines = [done(machine_of(ann, f"box {number}")) for number in range(AT_ONCE - 4)]
    for machine in machines:
        services.machine_force_off(machine=machine, by=ann)
        done(machine, Observed.OFF)
    quota_set(of=ann, limits=Limits(running=5))

    def act(number: int) -> object:
        if number < len(machines):  # each locks its own machine, and no host
            return services.machine_start(machine=machines[number], by=ann)
        return machine_of(ann, f"more {number}")

    answers = at_once(act)
    assert sum(not isinstance(each, str) for each in answers) == 5, answers
    assert used_by(Account(ann.pk)).running == 5


def test_who_takes_more_waits_for_the_other_who_does(ann: User) -> None:
    host_heard()
    machine = done(machine_of(ann))
    services.machine_force_off(machine=machine, by=ann)
    done(machine, Observed.OFF)

    def start() -> None:
        try:
            services.machine_start(machine=machine, by=ann)
        finally:
            connections.close_all()

    other = threading.Thread(target=start)
    with transaction.atomic():
        Account(ann.pk).lock()
        other.start()
        other.join(1)
        assert other.is_alive()
    other.join(30)
    assert newest(machine).kind == Kind.START


def test_of_twenty_approvers_one_decides_and_one_machine_is_made(ann: User) -> None:
    host_heard()
    approvers = [User.objects.create_user(f"amy {number}", approves=True) for number in range(AT_ONCE)]
    asked = machine_ask(by=ann, wish=wish("big"), reason="a course", until=None)

    def act(number: int) -> object:
        if number % 4 == 0:
            request_decline(request=asked, by=approvers[number], comment="no")
            return None
        return request_approve(request=asked, by=approvers[number])

    answers = at_once(act)
    told = [each for each in answers if isinstance(each, str)]
    assert len(told) == AT_ONCE - 1, answers
    assert all("Somebody was quicker" in each for each in told), answers
    asked.refresh_from_db()
    assert Machine.objects.count() == (1 if asked.state == "approved" else 0)
    assert asked.events.count() == 2


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
