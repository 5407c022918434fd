"""What pages cost the database: as little with a thousand machines as with one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.fleet.models import Host
from portal.machines.models import Disk, Machine, Nic, Template
from portal.machines.specs import spec_of
from portal.networks.services import private_network
from portal.quotas.amounts import Limits
from portal.quotas.services import quota_set
from portal.teams.models import Membership, Team
from tests.web.people import host_heard, image_named, signed_in, silence
from workers.contract.spec import GIB

MACHINES = 1000


@pytest.fixture
def crowd(ann: User, ben: User) -> list[Machine]:
    """A thousand machines of two people on four hosts, each with a disk, a card and three operations."""
    hosts = [host_heard(f"rack-{number}") for number in range(4)]
    discs = [image_named(f"disc {number}") for number in range(20)]
    network = private_network()
    machines = Machine.objects.bulk_create(
        Machine(
            owner=(ann, ben)[number % 2],
            host=hosts[number % 4],
            name=f"box {number:04}",
            cpus=1,
            memory_mib=512,
            disc=discs[number % 20],
            boot_from="disc",
            power="running",
            observed="running",
        )
        for number in range(MACHINES)
    )
    Disk.objects.bulk_create(
        Disk(machine=machine, position=0, size_bytes=GIB, kind="growing", bus="virtio")
        for machine in machines
    )
    Nic.objects.bulk_create(
        Nic(
            machine=machine,
            host_id=machine.host_id,
            network=network,
            position=0,
            mac=f"52:54:00:00:{number // 256:02x}:{number % 256:02x}",
            address=f"10.0.{number // 256}.{number % 256}",
            model="virtio",
        )
        for number, machine in enumerate(machines)
    )
    Operation.objects.bulk_create(
        Operation(
            kind=kind,
            machine=machine,
            machine_name=machine.name,
            host_id=machine.host_id,
            requested_by=ann,
            generation=generation,
            state="running" if kind is Kind.RESTART else "done",
            steps=[{"step": "launch", "state": "running", "percent": 0}],
            message={},
        )
        for machine in machines
        for generation, kind in enumerate((Kind.CREATE, Kind.START, Kind.RESTART), 1)
    )
    return machines


@pytest.mark.parametrize("silent", [False, True], ids=["all hosts alive", "with silent hosts"])
@pytest.mark.parametrize("administrator", [False, True], ids=["a person", "an administrator"])
def test_each_page_makes_at_most_fifteen_queries_however_many_machines_there_are(
    crowd: list[Machine],
    ann: User,
    boss: User,
    silent: bool,
    administrator: bool,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    if silent:
        silence("rack-0", "rack-2")
    browser = signed_in(boss if administrator else ann)
    own = f"/machines/{crowd[0].pk}"
    addresses = ["/machines/", "/machines/?page=7", "/machines/?q=box", f"{own}/", f"{own}/figures/"]
    addresses += [
        f"{own}/network/",
        f"{own}/activity/",
        "/activity/mine/",
        "/notices/",
        "/machines/new/",
        "/discs/",
        "/networks/",
        "/requests/",
    ]
    network = private_network()
    addresses += (
        ["/hosts/", "/hosts/rack-0/", "/activity/", f"/networks/{network.pk}/"] if administrator else []
    )
    for address in addresses:
        with django_assert_max_num_queries(15, info=address):  # one of them for the bell
            answer = browser.get(address)
        assert answer.status_code == 200
        assert "Sign out" in answer.content.decode()


def test_the_forms_of_a_new_machine_cost_as_little_with_twenty_teams_as_with_one(
    crowd: list[Machine], ann: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    crowd[0].nics.all().delete()  # its made-up address is in no network that a template could describe
    template = Template.objects.create(
        owner=ann, host=crowd[0].host, name="base", is_ready=True,
        hardware=spec_of(crowd[0]).model_dump(mode="json"),
    )  # fmt: skip
    browser = signed_in(ann)
    for number in range(20):
        team = Team.objects.create(name=f"team {number}")
        Membership.objects.create(team=team, user=ann)
        quota_set(of=team, limits=Limits(machines=100))
        Machine.objects.filter(pk__in=[each.pk for each in crowd[number * 10 : number * 10 + 10]]).update(
            team=team
        )
    for address in ("/machines/new/", f"/templates/{template.pk}/"):
        with django_assert_max_num_queries(18, info=address):  # three of them for all teams
            page = browser.get(address).content.decode()
        assert page.count("10 of 100") == 20


def test_the_list_shows_fifty_machines_with_address_state_and_size(
    crowd: list[Machine], ann: User, boss: User
) -> None:
    page = signed_in(boss).get("/machines/").content.decode()
    assert page.count('<tr id="machine-') == 50
    assert "1 to 50 of 1000" in page
    assert "10.0.0.5" in page
    assert "Restarting" in page
    assert "1 to 50 of 500" in signed_in(ann).get("/machines/").content.decode()


def test_a_machine_with_a_long_history_costs_no_more(
    crowd: list[Machine], ann: User, ben: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    machine = crowd[0]
    Operation.objects.bulk_create(
        Operation(
            kind=Kind.START,
            machine=machine,
            machine_name=machine.name,
            requested_by=(ann, ben)[number % 2],
            generation=10 + number,
            state="failed",
            error_code="launch_failed",
            message={},
        )
        for number in range(300)
    )
    browser = signed_in(ann)
    with django_assert_max_num_queries(11):  # one of them for the bell
        page = browser.get(f"/machines/{machine.pk}/").content.decode()
    assert page.count('<li class="is-failed">') == 20


def test_the_outbox_and_the_watch_over_hosts_cost_little_when_nothing_is_to_be_done(
    crowd: list[Machine], django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    from portal.fleet.services import silence_notice
    from portal.machines.dispatch import send_outbox

    Operation.objects.update(sent_at=timezone.now() - timedelta(seconds=1))
    with django_assert_max_num_queries(2):
        assert send_outbox() == 0
        assert silence_notice() == []
    assert Host.objects.filter(shown_silent=True).count() == 0
