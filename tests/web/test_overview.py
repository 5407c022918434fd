"""The site at a glance, for who answers for it: hosts, what waits, what ends when, who has how much."""

from __future__ import annotations

import math
import time
from datetime import timedelta

from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from portal.accounts.models import User
from portal.figures.packing import FIELDS
from portal.figures.services import samples_take
from portal.leases.services import lease_set
from portal.machines.models import Machine
from portal.overview.days import SLOT_SECONDS, SLOTS, drawn
from portal.overview.selectors import endings, owners, raises_ending
from portal.quotas.models import Grant, Raise
from portal.requests.services import machine_ask
from portal.teams.models import Team
from tests.web.people import done, later, machine_of, signed_in, silence, wish
from workers.contract.figures import SAMPLE_SECONDS, HostTotals, Samples


def test_it_shows_hosts_what_waits_what_ends_and_who_has_how_much(
    running: Machine, ann: User, boss: User
) -> None:
    machine_ask(by=ann, wish=wish("big", cpus=64), reason="a course", until=None)
    lease_set(machine=running, ends_on=timezone.now().date() + timedelta(days=3), by=ann)
    silence("rack-1")
    page = " ".join(signed_in(boss).get("/overview/").content.decode().split())
    for words in (
        "rack-1",
        "Not reachable",
        "load 0.5",
        "Machine “big”",
        "of ann",
        "1 machine, 1 running",
        "until ",
    ):
        assert words in page, words
    assert f'href="/machines/{running.pk}/"' in page


def test_it_draws_the_last_day_of_each_host(running: Machine, boss: User) -> None:
    host = running.host
    page = signed_in(boss).get("/overview/").content.decode()
    assert page.count("nothing was heard") == 2
    now = int(time.time())
    for ago, percent in ((30, 80.0), (20, 20.0)):
        totals = HostTotals(cpu_own_percent=percent, memory_bytes=host.memory_total_mib * 2**20 / 4)
        at = now - now % SAMPLE_SECONDS - ago
        samples_take(
            Samples(host=host.name, at=at, sequence=later(), totals=totals, machines=()), now=at + 0.2
        )
    page = " ".join(signed_in(boss).get("/overview/").content.decode().split())
    assert "50 % on average, 80 % at most" in page
    assert "25 % on average, 25 % at most" in page
    assert page.count(f'<path d="M{SLOTS - 1} ') == 2


def test_a_days_line_has_a_gap_where_nothing_was_heard() -> None:
    def point(percent: float) -> tuple[float, ...]:
        return tuple(percent if name == "cpu_own_percent" else math.nan for name in FIELDS)

    now = 10**6
    heard = {0: 30.0, 1: 10.0, 3: 50.0}  # by quarters of an hour ago
    found = {now - 60 - ago * SLOT_SECONDS: (point(each), point(2 * each)) for ago, each in heard.items()}
    day = drawn(found, FIELDS.index("cpu_own_percent"), 100, now)
    assert (day.average, day.peak) == (30, 100)
    last = SLOTS - 1
    assert day.path == f"M{last - 3} 50h1M{last - 1} 90h1L{last} 70h1"


def test_what_was_approved_for_a_time_is_said_before_it_is_over(
    running: Machine, ben: User, boss: User
) -> None:
    today = timezone.now().date()
    Raise.objects.create(user=ben, cpus=8, ends_on=today + timedelta(days=5))
    Raise.objects.create(user=ben, cpus=9, ends_on=today + timedelta(days=40))
    Grant.objects.create(machine=running, cpus=1, ends_on=today + timedelta(days=2))
    Grant.objects.create(machine=running, cpus=1, ends_on=today - timedelta(days=1))
    assert [(each.whose, each.machine) for each in raises_ending()] == [("ann", running), ("ben", None)]
    page = " ".join(signed_in(boss).get("/overview/").content.decode().split())
    assert "counts over the quota until" in page
    assert "ben · quota raised until" in page


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
    with django_assert_max_num_queries(16):
        assert browser.get("/overview/").status_code == 200


def test_an_auditor_reads_it_and_nobody_else(running: Machine, ann: User, ben: User) -> None:
    User.objects.filter(pk=ben.pk).update(audits=True)
    assert signed_in(User.objects.get(pk=ben.pk)).get("/overview/").status_code == 200
    assert signed_in(ann).get("/overview/").status_code == 404
