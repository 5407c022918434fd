"""End dates, schedules and idle machines; every moment is passed in, nobody waits."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from portal.accounts.models import User
from portal.activity.models import STARTING, Kind
from portal.audit.actions import Action
from portal.audit.models import Entry
from portal.backups.services import backup_take
from portal.figures.models import MachineStretch
from portal.figures.packing import FIELDS, QUARTERS, packed_pairs
from portal.fleet.models import Host
from portal.leases import services, walk
from portal.leases.idling import idle_find
from portal.leases.models import Lease, LeaseRules, Schedule
from portal.leases.scheduling import schedules_run
from portal.leases.timing import Edge, last_edge
from portal.leases.walk import FORCED_AFTER, leases_walk
from portal.machines.models import Machine
from portal.machines.services import machine_start
from portal.notices.models import Notice
from portal.refusal import Refused
from portal.requests.deciding import request_approve
from portal.requests.services import machine_ask
from portal.rights.models import Share
from portal.teams.models import Membership, Role, Team
from tests.web.people import done, machine_of, newest, signed_in, wish
from workers.contract.host import PlaceFacts
from workers.contract.messages import Observed

NOON = datetime.combine(datetime.now(UTC).date(), datetime.min.time(), UTC) + timedelta(hours=12)
TODAY = NOON.date()


def days(number: int) -> timedelta:
    return timedelta(days=number)


def walk_on(number: int, **more: int) -> None:
    """A walk at noon so many days from now."""
    leases_walk(now=NOON + timedelta(days=number, **more))


def notices(person: User, kind: str) -> list[str]:
    return list(Notice.objects.filter(person=person, kind=kind).order_by("pk").values_list("text", flat=True))


def lines(action: Action) -> int:
    return Entry.objects.filter(action=action).count()


@pytest.fixture
def leased(running: Machine, ann: User) -> Machine:
    """Ann's machine, for ten more days."""
    services.lease_set(machine=running, ends_on=TODAY + days(10), by=ann)
    return running


def test_its_people_are_reminded_a_week_and_a_day_before_once_each(leased: Machine, ann: User) -> None:
    walk_on(2)
    assert notices(ann, "lease_ends") == []
    walk_on(3)
    walk_on(4)
    assert notices(ann, "lease_ends") == [
        "The time of “web” ends in 7 days. It is shut down then. Extend it on its page, if you still need it."
    ]
    walk_on(9)
    walk_on(10)
    assert len(notices(ann, "lease_ends")) == 2
    assert lines(Action.LEASE_REMINDED) == 2
    assert newest(leased).kind == Kind.CREATE


def test_a_machine_in_trouble_keeps_no_other_from_its_reminder(
    leased: Machine, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = done(machine_of(ann, "other"))
    services.lease_set(machine=other, ends_on=TODAY + days(9), by=ann)
    step = walk._step

    def in_trouble(lease: Lease, rules: LeaseRules, now: datetime) -> None:
        if lease.machine_id == other.pk:
            raise RuntimeError
        step(lease, rules, now)

    monkeypatch.setattr(walk, "_step", in_trouble)
    walk_on(3)
    assert len(notices(ann, "lease_ends")) == 1


def test_a_teams_machine_concerns_its_owners_and_members_and_nobody_who_looks(
    leased: Machine, ann: User, ben: User
) -> None:
    team = Team.objects.create(name="biology")
    viewer = User.objects.create_user("carl")
    Membership.objects.create(team=team, user=ben, role=Role.MEMBER)
    Membership.objects.create(team=team, user=viewer, role=Role.VIEWER)
    Machine.objects.update(team=team)
    walk_on(3)
    assert [len(notices(each, "lease_ends")) for each in (ben, viewer, ann)] == [1, 0, 0]


def test_on_its_last_day_it_runs_and_then_it_is_shut_down_once(leased: Machine, ann: User) -> None:
    walk_on(10)
    assert newest(leased).kind == Kind.CREATE
    walk_on(11)
    walk_on(11)
    assert [each.kind for each in leased.operations.order_by("generation")] == [Kind.CREATE, Kind.SHUT_DOWN]
    assert newest(leased).requested_by is None
    assert notices(ann, "lease_over") == [
        f"The time of “web” is over, so it is shut down. On {TODAY + days(25)} it is deleted with all that is on its "
        "disks, unless it is extended on its page before."
    ]
    assert lines(Action.LEASE_OVER) == 1


def test_a_system_that_does_not_shut_down_is_cut_off(leased: Machine) -> None:
    walk_on(11)
    leases_walk(now=NOON + days(11) + FORCED_AFTER - timedelta(seconds=1))
    assert newest(leased).kind == Kind.SHUT_DOWN
    leases_walk(now=NOON + days(11) + FORCED_AFTER)
    leases_walk(now=NOON + days(11) + FORCED_AFTER * 2)
    assert newest(leased).kind == Kind.FORCE_OFF
    assert leased.operations.count() == 3


def test_after_the_grace_it_is_deleted_with_a_warning_the_day_before(leased: Machine, ann: User) -> None:
    walk_on(11)
    done(leased, Observed.OFF)
    walk_on(23)
    assert len(notices(ann, "lease_over")) == 1
    walk_on(24)
    walk_on(24, hours=1)
    assert len(notices(ann, "lease_over")) == 2
    assert newest(leased).kind == Kind.SHUT_DOWN
    walk_on(25)
    walk_on(26)
    assert newest(leased).kind == Kind.DELETE
    assert leased.operations.filter(kind=Kind.DELETE).count() == 1
    assert len(notices(ann, "lease_deleted")) == 1
    assert lines(Action.LEASE_DELETED) == 1


def test_the_deletion_waits_for_a_backup_under_way(leased: Machine, ann: User) -> None:
    place = PlaceFacts(name="main", total_mib=1000, free_mib=900)
    Host.objects.update(backup_places=[place.model_dump(mode="json")])
    walk_on(11)
    done(leased, Observed.OFF)
    backup_take(machine=leased, place="main", by=ann)
    walk_on(25)
    walk_on(26)
    assert newest(leased).kind == Kind.BACKUP
    assert (notices(ann, "lease_deleted"), lines(Action.LEASE_DELETED)) == ([], 0)
    done(leased, Observed.OFF)
    walk_on(26, hours=1)
    assert newest(leased).kind == Kind.DELETE
    assert (len(notices(ann, "lease_deleted")), lines(Action.LEASE_DELETED)) == (1, 1)


def test_what_is_hibernated_is_deleted_all_the_same(leased: Machine) -> None:
    walk_on(11)
    done(leased, Observed.SAVED)
    walk_on(25)
    assert newest(leased).kind == Kind.DELETE


def test_a_site_that_was_away_for_long_still_gives_the_whole_grace(leased: Machine) -> None:
    walk_on(100)
    walk_on(113)
    assert not leased.operations.filter(kind=Kind.DELETE).exists()
    walk_on(114)
    assert newest(leased).kind == Kind.DELETE


def test_who_extends_in_the_grace_keeps_the_machine(leased: Machine, ann: User) -> None:
    walk_on(11)
    services.lease_extend(machine=leased, by=ann, now=NOON + days(12))
    walk_on(26)
    assert not leased.operations.filter(kind=Kind.DELETE).exists()
    assert Lease.objects.get().ends_on == TODAY + days(42)
    walk_on(36)
    assert len(notices(ann, "lease_ends")) == 1


def test_what_is_being_deleted_is_not_extended(leased: Machine, ann: User) -> None:
    walk_on(11)
    walk_on(25)
    with pytest.raises(Refused, match="Nothing was changed"):
        services.lease_extend(machine=leased, by=ann, now=NOON + days(25))


def test_a_machine_whose_time_is_over_is_not_started_until_it_is_extended(
    running: Machine, ann: User
) -> None:
    done(running, Observed.OFF)
    Machine.objects.update(power="off")
    Lease.objects.create(machine=running, ends_on=TODAY - days(1))
    page = signed_in(ann).post(f"/machines/{running.pk}/start/", follow=True).content.decode()
    assert "The machine&#x27;s time is over, so it was not started. Extend it" in page
    page = signed_in(ann).post(f"/machines/{running.pk}/lease/extend/", follow=True).content.decode()
    assert "30 days left" in page
    assert machine_start(machine=running, by=ann).kind == Kind.START


@pytest.mark.parametrize(
    ("stands", "address"),
    [
        (Observed.RUNNING, "restart"),
        (Observed.SAVED, "wake"),
        (Observed.SAVED, "start-anew"),
    ],
)
def test_nor_does_anything_else_start_it(running: Machine, ann: User, stands: Observed, address: str) -> None:
    done(running, stands)
    Machine.objects.update(power=stands.value)
    Lease.objects.create(machine=running, ends_on=TODAY - days(1))
    before = Machine.objects.values("power", "run", "generation").get()
    page = signed_in(ann).post(f"/machines/{running.pk}/{address}/", follow=True).content.decode()
    assert "The machine&#x27;s time is over, so it was not started. Extend it" in page
    assert newest(running).kind == Kind.CREATE
    assert Machine.objects.values("power", "run", "generation").get() == before
    Lease.objects.update(ends_on=TODAY)
    signed_in(ann).post(f"/machines/{running.pk}/{address}/")
    assert newest(running).kind in STARTING[1:]


def test_a_machine_that_was_approved_until_a_day_ends_then(rack: object, ann: User, boss: User) -> None:
    asked = machine_ask(by=ann, wish=wish("asked"), reason="a course", until=TODAY + days(20))
    made = request_approve(request=asked, by=boss)
    made.refresh_from_db()
    lease = Lease.objects.get(machine=made.machine)
    assert (lease.ends_on, lease.granted_until) == (TODAY + days(20), TODAY + days(20))


def test_a_day_that_has_passed_is_not_approved(rack: object, ann: User, boss: User) -> None:
    asked = machine_ask(by=ann, wish=wish("asked"), reason="a course", until=TODAY - days(1))
    with pytest.raises(Refused, match="has passed. Decline the request"):
        request_approve(request=asked, by=boss)
    assert not Machine.objects.exists()


def test_what_was_granted_is_passed_only_by_the_extensions_that_the_rules_allow(
    running: Machine, ann: User, boss: User
) -> None:
    services.lease_grant(machine=running, until=TODAY + days(5), by=boss)
    with pytest.raises(Refused, match="It was granted until"):
        services.lease_set(machine=running, ends_on=TODAY + days(6), by=ann)
    with pytest.raises(Refused, match="only an administrator"):
        services.lease_remove(machine=running, by=ann)
    services.lease_set(machine=running, ends_on=TODAY + days(1), by=ann)
    services.lease_set(machine=running, ends_on=TODAY + days(5), by=ann)
    services.lease_extend(machine=running, by=ann)
    services.lease_extend(machine=running, by=ann)
    with pytest.raises(Refused, match="as often as the rules allow"):
        services.lease_extend(machine=running, by=ann)
    assert Lease.objects.get().ends_on == TODAY + days(65)
    services.lease_extend(machine=running, by=boss)
    services.lease_remove(machine=running, by=boss)
    assert not Lease.objects.exists()


def test_who_only_operates_it_sees_the_end_and_does_not_change_it(leased: Machine, ben: User) -> None:
    Share.objects.create(machine=leased, user=ben, level=4)
    browser = signed_in(ben)
    page = browser.get(f"/machines/{leased.pk}/").content.decode()
    assert "10 days left" in page
    assert "/lease/" not in page
    assert browser.post(f"/machines/{leased.pk}/lease/extend/").status_code == 403


@pytest.mark.parametrize("raw", ["", "yesterday", "2020-01-01", "9999-99-99"])
def test_a_wrong_day_is_refused_in_words(running: Machine, ann: User, raw: str) -> None:
    page = signed_in(ann).post(f"/machines/{running.pk}/lease/set/", {"ends_on": raw}, follow=True)
    assert "Nothing was changed" in page.content.decode()
    assert not Lease.objects.exists()


def test_an_administrator_sets_the_rules(running: Machine, boss: User) -> None:
    values = {
        "extend_days": 10, "extensions": 1, "grace_days": 3, "first_reminder_days": 5, "last_reminder_days": 2,
        "idle_days": 4,
    }  # fmt: skip
    browser = signed_in(boss)
    wrong = browser.post("/settings/leases/", values | {"last_reminder_days": 5})
    assert (wrong.status_code, LeaseRules.objects.count()) == (422, 0)
    assert browser.post("/settings/leases/", values).status_code == 302
    rules = LeaseRules.objects.get()
    assert {field: getattr(rules, field) for field in values} == values
    assert lines(Action.LEASE_RULES) == 1


MONDAY = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "edge"),
    [
        (timedelta(hours=7, minutes=59), Edge(MONDAY - days(3) + timedelta(hours=18), False)),
        (timedelta(hours=8), Edge(MONDAY + timedelta(hours=8), True)),
        (timedelta(hours=20), Edge(MONDAY + timedelta(hours=18), False)),
        (timedelta(days=6), Edge(MONDAY + timedelta(days=4, hours=18), False)),
    ],
)
def test_the_newest_edge_of_weekdays_from_8_to_18(now: timedelta, edge: Edge) -> None:
    assert last_edge("01234", 8, 18, MONDAY + now) == edge


def test_whole_days_in_a_row_are_one_stretch() -> None:
    assert last_edge("0123456", 0, 24, MONDAY) == Edge(MONDAY, True)
    assert last_edge("", 0, 24, MONDAY) is None


def at(hours: float, minutes: float = 0) -> None:
    schedules_run(now=MONDAY + timedelta(hours=hours, minutes=minutes))


@pytest.fixture
def scheduled(running: Machine, ann: User) -> Machine:
    """Ann's machine, on weekdays from 8 to 18; set on a Monday at noon."""
    noon = MONDAY + timedelta(hours=12)
    services.schedule_set(machine=running, weekdays=range(5), from_hour=8, to_hour=18, by=ann, now=noon)
    return running


def test_each_edge_starts_or_shuts_down_exactly_once(scheduled: Machine) -> None:
    at(17, 59)
    assert newest(scheduled).kind == Kind.CREATE
    at(18)
    at(18, 1)
    done(scheduled, Observed.OFF)
    at(23)
    at(24 + 8)
    at(24 + 8, 1)
    kinds = [each.kind for each in scheduled.operations.order_by("generation")]
    assert kinds == [Kind.CREATE, Kind.SHUT_DOWN, Kind.START]


def test_who_starts_it_in_the_evening_is_left_alone_until_the_next_edge(
    scheduled: Machine, ann: User
) -> None:
    at(18)
    done(scheduled, Observed.OFF)
    machine_start(machine=scheduled, by=ann)
    done(scheduled)
    at(19)
    at(24 + 8)
    assert newest(scheduled).kind == Kind.START
    at(24 + 18)
    assert newest(scheduled).kind == Kind.SHUT_DOWN


def test_what_cannot_be_started_is_tried_for_an_hour_and_noted_then(scheduled: Machine) -> None:
    at(18)
    done(scheduled, Observed.OFF)
    Lease.objects.create(machine=scheduled, ends_on=date(2020, 1, 1))
    at(24 + 8)
    at(24 + 8, 59)
    assert lines(Action.SCHEDULE_MISSED) == 0
    at(24 + 9)
    at(24 + 9, 1)
    assert lines(Action.SCHEDULE_MISSED) == 1
    assert newest(scheduled).kind == Kind.SHUT_DOWN


def test_a_schedule_is_set_on_the_page_and_removed_without_days(running: Machine, ann: User) -> None:
    browser, address = signed_in(ann), f"/machines/{running.pk}/schedule/"
    page = browser.post(address, {"weekdays": ["0", "4"], "from_hour": "0", "to_hour": "18"}, follow=True)
    assert "0:00 to 18:00 UTC" in page.content.decode()
    for wrong in ({"from_hour": "18", "to_hour": "8"}, {"from_hour": "x", "to_hour": "8"}):
        page = browser.post(address, {"weekdays": ["1"], **wrong}, follow=True)
        assert "Nothing was changed" in page.content.decode()
    assert Schedule.objects.get().weekdays == "04"
    browser.post(address, {"from_hour": "0", "to_hour": "18"})
    assert not Schedule.objects.exists()


def figures(machine: Machine, *, back: int, cpu: float, net: float = 10.0) -> None:
    """What it took on the day so many days ago, in quarters of an hour."""
    start = int((NOON - timedelta(hours=12) - days(back)).timestamp())
    values = dict.fromkeys(FIELDS, 0.0) | {"cpu_own_percent": cpu, "net_in_bytes": net, "net_out_bytes": net}
    point = tuple(values[field] for field in FIELDS)
    pairs = dict.fromkeys(range(start, start + 86400, QUARTERS), (point, point))
    packed = packed_pairs(pairs, QUARTERS, start)
    MachineStretch.objects.create(machine=machine, step=QUARTERS, start=start, packed=packed)


def test_an_idle_machine_is_pointed_out_to_its_owner_once_and_a_week_later_to_administrators(
    running: Machine, ann: User, boss: User
) -> None:
    for back in range(-7, 8):
        figures(running, back=back, cpu=0.5)
    idle_find(now=NOON)
    idle_find(now=NOON + days(6))
    assert notices(ann, "machine_idle") == ["“web” has done nothing for 7 days."]
    assert notices(boss, "machine_idle") == []
    idle_find(now=NOON + days(7))
    idle_find(now=NOON + days(7))
    assert notices(boss, "machine_idle") == ["“web” has done nothing for 14 days."]
    assert len(notices(ann, "machine_idle")) == 1
    assert lines(Action.MACHINE_IDLE) == 2


@pytest.mark.parametrize(("cpu", "net", "known"), [(30.0, 10.0, 7), (0.5, 5000.0, 7), (0.5, 10.0, 6)])
def test_what_computes_or_talks_or_is_new_is_not_idle(
    running: Machine, ann: User, cpu: float, net: float, known: int
) -> None:
    for back in range(1, known + 1):
        figures(running, back=back, cpu=cpu, net=net)
    idle_find(now=NOON)
    assert notices(ann, "machine_idle") == []
