"""The site at a glance, for who answers for it: hosts, what waits, what ends when, who has how much."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from portal.accounts.models import User
from portal.leases.services import lease_set
from portal.machines.models import Machine
from portal.overview.selectors import endings, owners
from portal.requests.services import machine_ask
from portal.teams.models import Team
from tests.web.people import done, machine_of, signed_in, silence, wish


def test_it_shows_hosts_what_waits_what_ends_and_who_has_how_much(
    running: Machine, ann: User, boss: User
) -> None:
    machine_ask(by=ann, wish=wish("big", cpus=64), reason="a course", until=None)
    lease_set(machine=running, ends_on=timezone.now().date() + timedelta(days=3), by=ann)
    silence("rack-1")
    page = " ".join(signed_in(boss).get("/overview/").content.decode().split())
    for words in ("rack-1", "Not reachable", "Machine “big”", "of ann", "1 machine, 1 running", "until "):
        assert words in page, words
    assert f'href="/machines/{running.pk}/"' in page


def test_what_ends_later_or_has_no_end_is_not_there(running: Machine, ann: User) -> None:
    assert endings() == []
    lease_set(machine=running, ends_on=timezone.now().date() + timedelta(days=31), by=ann)
    assert endings() == []


def test_owners_are_people_and_teams_with_the_most_memory_first(
    running: Machine, ann: User, ben: User
) -> None:
    team = Team.objects.create(name="physics")
    for owner in (ann, ben):
        machine = done(machine_of(owner, f"of {owner}", memory_mib=2048, cpus=2))
        Machine.objects.filter(pk=machine.pk).update(team=team)
    done(machine_of(ben, "own", memory_mib=1024))
    assert [
        (each.name, each.is_team, each.machines, each.cpus, each.memory_mib, each.share) for each in owners()
    ] == [
        ("physics", True, 2, 4, 4096, 100),
        ("ben", False, 1, 1, 1024, 25),
        ("ann", False, 1, 1, 512, 12),
    ]


def test_it_costs_no_more_with_more_machines(
    running: Machine, ann: User, boss: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(5):
        machine = done(machine_of(ann, f"box {number}"))
        lease_set(machine=machine, ends_on=timezone.now().date(), by=ann)
        machine_ask(by=ann, wish=wish(f"big {number}", cpus=64), reason="x", until=None)
    browser = signed_in(boss)
    with django_assert_max_num_queries(12):
        assert browser.get("/overview/").status_code == 200


def test_an_auditor_reads_it_and_nobody_else(running: Machine, ann: User, ben: User) -> None:
    User.objects.filter(pk=ben.pk).update(audits=True)
    assert signed_in(User.objects.get(pk=ben.pk)).get("/overview/").status_code == 200
    assert signed_in(ann).get("/overview/").status_code == 404
