"""Asking for what is not to be had at once: from the wizard to the machine, and every other way that it can go."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from portal.accounts.models import User
from portal.activity.models import Operation
from portal.flavours.models import Flavour
from portal.images.models import ImageKind, ImageState
from portal.machines import services as machine_services
from portal.machines.models import Machine, Template
from portal.machines.specs import spec_of
from portal.networks.models import Network
from portal.networks.services import private_network
from portal.notices.models import Notice
from portal.quotas.account import Account
from portal.quotas.amounts import Limits
from portal.quotas.limits import limits_of
from portal.quotas.models import Grant, Quota, Raise
from portal.quotas.services import quota_raise, quota_set
from portal.quotas.tasks import end_quotas
from portal.refusal import Refused
from portal.requests import deciding, services
from portal.requests.models import Request, State
from portal.requests.rules import rules_set
from portal.requests.tasks import expire_requests
from portal.requests.wish import Less
from portal.requests.wishes import LargerQuota
from portal.teams.models import Membership, Role, Team
from tests.web import people
from tests.web.people import decides, done, host_heard, image_named, machine_of, signed_in, silence, wish
from workers.contract.messages import Observed
from workers.contract.spec import GIB

pytestmark = pytest.mark.django_db
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0tq5LHf6oyGqJmHqzGgU0FvYhYv1yE1l5rYkqQ9k0X ann"


@pytest.fixture
def approver(db: None) -> User:
    """Decides about requests, and is no administrator."""
    return User.objects.create_user("amy", password=people.PASSWORD, approves=True)


@pytest.fixture(autouse=True)
def poor(ann: User, rack: object) -> None:
    """Ann may have one machine of two processors."""
    quota_set(of=ann, limits=Limits(machines=1, running=1, cpus=2))


def asks(user: User, name: str = "big", **changes: Any) -> Any:
    """The person fills in the wizard."""
    fields: dict[str, Any] = {
        "name": name, "size": "large", "disk_gib": 64, "disk_kind": "growing",
        "network": str(private_network().pk), "reason": "we train a model", "until": "",
    }  # fmt: skip
    return signed_in(user).post("/machines/new/", fields | changes)


def asked(user: User, name: str = "big", **changes: Any) -> Request:
    """What came of it."""
    answer = asks(user, name, **changes)
    assert answer.status_code == 302, answer.content.decode()
    assert answer["Location"].startswith("/requests/")
    return Request.objects.get(pk=answer["Location"].split("/")[2])


def told(user: User) -> list[str]:
    """The notices that the person has."""
    return list(Notice.objects.filter(person=user).order_by("pk").values_list("kind", flat=True))


def words_in(row: Request) -> list[str]:
    return [each.what for each in row.events.all()]


def test_ask_approve_and_the_machine_is_made(ann: User, approver: User) -> None:
    row = asked(ann, until=(timezone.localdate() + timedelta(days=30)).isoformat())
    assert (row.state, row.reason) == (State.WAITING, "we train a model")
    assert Machine.objects.count() == 0
    own = signed_in(ann).get(f"/requests/{row.pk}/").content.decode()
    assert "waits for a decision" in own
    assert "Approve" not in own
    assert '<span class="badge bg-warning' in signed_in(approver).get("/machines/").content.decode()
    page = signed_in(approver).get(f"/requests/{row.pk}/").content.decode()
    for words in (
        "we train a model", "4 processors, 8 GB of memory, 64 GB of disk",
        "That would be 4 processors; the quota is 2 processors.", "What ann has", "rack-1", "fits",
    ):  # fmt: skip
        assert words in page, words
    decides(approver, row, "approve", comment="have fun")
    machine = Machine.objects.get()
    assert (row.state, row.decided_by, row.machine) == (State.APPROVED, approver, machine)
    assert (machine.owner, machine.name, machine.cpus, machine.memory_mib) == (ann, "big", 4, 8192)
    assert Operation.objects.get(machine=machine).requested_by == ann
    assert machine.request.until == timezone.localdate() + timedelta(days=30)
    assert words_in(row) == ["asked", "approved"]
    assert (told(approver), told(ann)) == (["request_asked"], ["request_decided"])
    own = signed_in(ann).get(f"/requests/{row.pk}/").content.decode()
    assert "have fun" in own
    assert f"/machines/{machine.pk}/" in own


def test_what_was_approved_is_beside_the_quota_for_as_long_as_the_machine_is_there(
    ann: User, approver: User
) -> None:
    first = done(machine_of(ann))
    decides(approver, asked(ann), "approve")
    big = done(Machine.objects.get(name="big"))
    assert limits_of(Account(ann.pk)) == Limits(machines=2, running=2, cpus=5)
    machine_services.machine_force_off(machine=big, by=ann)
    machine_services.machine_start(machine=done(big, Observed.OFF), by=ann)
    with pytest.raises(Refused, match="Your quota is 2 machines"):
        machine_of(ann, "third")
    machine_services.machine_delete(machine=big, name="big", by=ann)
    assert limits_of(Account(ann.pk)) == Limits(machines=1, running=1, cpus=2)
    assert Grant.objects.count() == 1
    with pytest.raises(Refused, match="Your quota is 1 machine"):
        machine_of(ann, "third")
    assert first.cpus == 1


def test_within_the_quota_it_is_made_at_once_whatever_reason_is_given(ann: User) -> None:
    answer = asks(ann, size="small", disk_gib=10)
    assert answer["Location"].startswith("/machines/")
    assert Request.objects.count() == 0


def test_a_size_or_network_that_needs_an_approval_is_asked_for_within_the_quota_too(
    ann: User, approver: User, boss: User
) -> None:
    Flavour.objects.filter(key="medium").update(needs_approval=True)
    office = Network.objects.create(name="office", subnet="10.3.0.0/24")
    signed_in(boss).post("/settings/rules/", {"days": 14, "networks": [str(office.pk)]})
    assert asks(ann, size="medium", reason="").status_code == 422
    row = asked(ann, size="medium", network=str(office.pk))
    page = signed_in(approver).get(f"/requests/{row.pk}/").content.decode()
    assert "A machine of that size needs an approval." in page
    assert "The network “office” needs an approval." in page
    decides(approver, row, "approve")
    assert Machine.objects.get().nics.get().network == office
    assert Grant.objects.count() == 0  # it is within the quota


def test_without_a_reason_nothing_is_asked(ann: User) -> None:
    page = asks(ann, reason="").content.decode()
    assert "Say what you need it for" in page
    assert "That would be 4 processors" in page
    assert "from tomorrow on" in asks(ann, until="2020-01-01").content.decode()
    assert Request.objects.count() == 0


def test_approve_less(ann: User, approver: User) -> None:
    row = asked(ann)
    page = decides(approver, row, "approve_less", cpus="5", memory_gib="4", disk_gib="20")
    assert "more than was asked for" in page
    assert row.state == State.WAITING
    decides(approver, row, "approve_less", cpus="3", memory_gib="4", disk_gib="20", comment="that is enough")
    machine = Machine.objects.get()
    assert (machine.cpus, machine.memory_mib, machine.disks.get().size_bytes) == (3, 4096, 20 * GIB)
    assert row.state == State.APPROVED_LESS
    own = signed_in(ann).get(f"/requests/{row.pk}/").content.decode()
    assert "3 processors, 4 GB of memory, 20 GB of disk" in own
    same = asked(ann, "more")
    decides(approver, same, "approve_less", cpus="4", memory_gib="8", disk_gib="64")
    assert same.state == State.APPROVED


def test_ask_back_and_answer(ann: User, ben: User, approver: User) -> None:
    row = asked(ann)
    assert "Write what you want to know" in decides(approver, row, "ask_back")
    decides(approver, row, "ask_back", comment="for which course?")
    assert row.state == State.ASKED_BACK
    assert "for which course?" in signed_in(ann).get(f"/requests/{row.pk}/").content.decode()
    assert signed_in(ben).post(f"/requests/{row.pk}/answer/", {"answer": "mine"}).status_code == 404
    signed_in(ann).post(f"/requests/{row.pk}/answer/", {"answer": " "})
    row.refresh_from_db()
    assert row.state == State.ASKED_BACK
    signed_in(ann).post(f"/requests/{row.pk}/answer/", {"answer": "the one on Mondays"})
    row.refresh_from_db()
    assert row.state == State.WAITING
    assert words_in(row) == ["asked", "asked_back", "answered"]
    assert "the one on Mondays" in decides(approver, row, "approve")
    assert row.state == State.APPROVED


def test_decline_says_why(ann: User, approver: User) -> None:
    row = asked(ann)
    assert "Write why" in decides(approver, row, "decline")
    assert row.state == State.WAITING
    decides(approver, row, "decline", comment="not this year")
    assert row.state == State.DECLINED
    assert "not this year" in signed_in(ann).get(f"/requests/{row.pk}/").content.decode()
    assert "Somebody was quicker: the request is “Declined” now" in decides(approver, row, "approve")
    assert Machine.objects.count() == 0


def test_withdraw(ann: User, approver: User) -> None:
    row = asked(ann)
    assert signed_in(approver).post(f"/requests/{row.pk}/withdraw/").status_code == 403
    signed_in(ann).post(f"/requests/{row.pk}/withdraw/")
    row.refresh_from_db()
    assert row.state == State.WITHDRAWN
    assert "“Withdrawn” now" in decides(approver, row, "approve")
    assert Machine.objects.count() == 0


def test_a_request_expires_after_the_days_of_the_rules(ann: User, approver: User) -> None:
    rules_set(approve_own=False, days=3)
    row, other = asked(ann), asked(ann, "other")
    assert timedelta(days=2, hours=23) < row.expires_at - timezone.now() <= timedelta(days=3)
    Request.objects.filter(pk=row.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert "The request has expired" in decides(approver, row, "approve")  # before the task has seen it
    expire_requests()
    row.refresh_from_db()
    other.refresh_from_db()
    assert (row.state, other.state) == (State.EXPIRED, State.WAITING)
    assert words_in(row) == ["asked", "expired"]
    assert Machine.objects.count() == 0


def test_no_one_approves_their_own_unless_the_rules_say_so(approver: User, boss: User) -> None:
    quota_set(of=approver, limits=Limits(machines=0))
    row = asked(approver)
    assert "That is your own request" in decides(approver, row, "approve")
    signed_in(approver).post("/requests/decide/", {"decision": "approve", "chosen": [str(row.pk)]})
    row.refresh_from_db()
    assert row.state == State.WAITING
    signed_in(boss).post("/settings/rules/", {"days": 14, "approve_own": "on"})
    decides(approver, row, "approve")
    assert row.state == State.APPROVED


def test_many_are_decided_at_once_and_one_that_cannot_be_hinders_no_other(ann: User, approver: User) -> None:
    rows = [asked(ann, f"big {number}") for number in range(3)]
    other = asked(ann, "other")
    signed_in(ann).post(f"/requests/{rows[0].pk}/withdraw/")
    chosen = {"chosen": [str(row.pk) for row in rows] + ["no id"], "decision": "approve"}
    page = signed_in(approver).post("/requests/decide/", chosen, follow=True).content.decode()
    assert "2 requests were decided." in page
    assert "Not decided, of ann" in page
    assert sorted(Machine.objects.values_list("name", flat=True)) == ["big 1", "big 2"]
    many = {"chosen": [str(other.pk)], "decision": "decline", "comment": "no room this week"}
    signed_in(approver).post("/requests/decide/", many)
    other.refresh_from_db()
    assert other.state == State.DECLINED


def test_when_no_host_has_room_the_approver_is_told_and_nothing_is_decided(ann: User, approver: User) -> None:
    row = asked(ann)
    silence("rack-1")
    page = decides(approver, row, "approve")
    assert "No host is reachable now" in page
    assert (row.state, row.decided_by, row.machine) == (State.WAITING, None, None)
    assert words_in(row) == ["asked"]
    host_heard(memory_free_mib=4000)
    assert "No host has that much memory free" in decides(approver, row, "approve")
    host_heard()
    decides(approver, row, "approve")
    assert row.state == State.APPROVED


def test_what_was_asked_for_is_checked_again_when_it_is_decided(ann: User, approver: User) -> None:
    disc = image_named()
    row = asked(ann, disc=str(disc.pk))
    disc.delete()
    assert "not in the library any more" in decides(approver, row, "approve")
    machine_of(approver, "big")
    taken = asked(ann, "same")
    Quota.objects.filter(user=ann).update(machines=5, cpus=50)
    machine_of(ann, "same")
    assert "You have a machine of this name already" in decides(approver, taken, "approve")
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert "switched off" in decides(approver, taken, "approve")
    assert {row.state, taken.state} == {State.WAITING}


def test_a_cloud_image_is_asked_for_with_its_settings_and_they_are_forgotten_afterwards(
    ann: User, approver: User
) -> None:
    image = image_named("Debian cloud", kind=ImageKind.DISK, state=ImageState.READY, is_cloud=True)
    seed = {"seed-user": "ann", "seed-password": "a very long one", "seed-packages": "nginx"}
    row = asked(ann, image_disk=str(image.pk), **seed)
    assert "a very long one" not in str(row.wish)
    assert row.wish["seed"]["password_hash"].startswith("$")
    decides(approver, row, "approve")
    machine = Machine.objects.get()
    assert machine.seed["packages"] == ["nginx"]
    assert row.wish["seed"] is None


def test_a_machine_from_a_template_is_asked_for_the_same_way(ann: User, approver: User) -> None:
    source = done(machine_of(approver, "base"))
    template = Template.objects.create(
        owner=approver, host=source.host, name="base", is_ready=True, is_published=True,
        hardware=spec_of(source).model_dump(mode="json"),
    )  # fmt: skip
    address, fields = f"/templates/{template.pk}/", {"name": "mine", "size": "large"}
    assert "That would be 4 processors" in signed_in(ann).post(address, fields).content.decode()
    signed_in(ann).post(address, fields | {"reason": "a course"})
    row = Request.objects.get()
    decides(approver, row, "approve_less", cpus="3")
    machine = Machine.objects.get(name="mine")
    assert (machine.owner, machine.cpus, machine.memory_mib) == (ann, 3, 8192)
    gone = signed_in(ann).post(address, fields | {"name": "second", "reason": "one more"})
    template.is_published = False
    template.save()
    row = Request.objects.get(pk=gone["Location"].split("/")[2])
    assert "not there any more" in decides(approver, row, "approve")


def test_a_larger_quota_is_asked_for_and_given(ann: User, approver: User) -> None:
    browser = signed_in(ann)
    now = {"machines": "1", "running": "1", "cpus": "2"}
    assert browser.post("/requests/quota/", now | {"reason": "x"}).status_code == 422
    browser.post("/requests/quota/", now | {"machines": "5", "cpus": "20", "reason": "a class"})
    row = Request.objects.get()
    assert row.wish["machines"] == 5
    assert row.wish["running"] is None
    assert "5 machines, 20 processors" in " ".join(
        signed_in(approver).get(f"/requests/{row.pk}/").content.decode().split()
    ).replace("20 processors, 5 machines", "5 machines, 20 processors")
    decides(approver, row, "approve_less", machines="3", cpus="20")
    assert row.state == State.APPROVED_LESS
    assert limits_of(Account(ann.pk)) == Limits(machines=3, running=1, cpus=20)


def test_an_owner_asks_for_a_larger_quota_of_the_team_and_the_team_has_it(
    ann: User, ben: User, approver: User
) -> None:
    team = Team.objects.create(name="web")
    for person, role in ((ann, Role.OWNER), (ben, Role.MEMBER)):
        Membership.objects.create(team=team, user=person, role=role)
    quota_set(of=team, limits=Limits(machines=4, cpus=6))
    address = f"/requests/quota/?team={team.pk}"
    browser = signed_in(ann)
    assert address in browser.get("/requests/quota/").content.decode()
    assert address in browser.get(f"/teams/{team.pk}/").content.decode()
    assert "0 of 4" in browser.get(address).content.decode()
    fields = {"machines": "9", "cpus": "6", "reason": "a class"}
    only_more_than_hers = fields | {"machines": "4"}
    assert browser.post(address, only_more_than_hers).status_code == 422
    assert browser.post(address, fields).status_code == 302
    row = Request.objects.get()
    assert (row.team, row.asked_by, row.wish["machines"], row.wish["cpus"]) == (team, ann, 9, None)
    page = signed_in(approver).get(f"/requests/{row.pk}/").content.decode()
    assert "What web has" in page
    assert 'name="until"' not in page
    assert "for the team “web”" in signed_in(approver).get("/requests/").content.decode()
    tomorrow = (timezone.now().date() + timedelta(days=1)).isoformat()
    decides(approver, row, "approve_less", machines="7", until=tomorrow)
    assert row.state == State.APPROVED_LESS
    assert limits_of(Account(0, team.pk)) == Limits(machines=7, cpus=6)
    assert limits_of(Account(ann.pk)) == Limits(machines=1, running=1, cpus=2)
    assert not Raise.objects.exists()


def test_only_who_owns_the_team_asks_for_a_larger_quota_of_it(ann: User, ben: User, approver: User) -> None:
    team = Team.objects.create(name="web")
    mine = Membership.objects.create(team=team, user=ann, role=Role.OWNER)
    Membership.objects.create(team=team, user=ben, role=Role.MEMBER)
    quota_set(of=team, limits=Limits(machines=4))
    address, fields = f"/requests/quota/?team={team.pk}", {"machines": "9", "reason": "a class"}
    for chosen in (address, "/requests/quota/?team=x"):
        assert signed_in(ben).post(chosen, fields).status_code == 404
    assert address not in signed_in(ben).get(f"/teams/{team.pk}/").content.decode()
    assert address not in signed_in(ben).get("/requests/quota/").content.decode()
    wanted = LargerQuota(machines=9)
    with pytest.raises(Refused, match="Only an owner of the team"):
        services.quota_ask(by=ben, wanted=wanted, reason="a class", team=team)
    until = timezone.now().date() + timedelta(days=9)
    with pytest.raises(Refused, match="is raised for ever"):
        services.quota_ask(by=ann, wanted=wanted, reason="a class", team=team, until=until)
    row = services.quota_ask(by=ann, wanted=wanted, reason="a class", team=team)
    with pytest.raises(Refused, match="That has no end"):
        deciding.request_approve(request=row, by=approver, until=until)
    mine.delete()
    assert "does not own that team any more" in decides(approver, row, "approve")
    assert row.state == State.WAITING
    assert limits_of(Account(0, team.pk)) == Limits(machines=4)


def test_a_larger_quota_for_a_time_falls_back_by_itself_and_the_machines_stay(
    ann: User, approver: User, boss: User
) -> None:
    today = timezone.now().date()
    asked_until, given_until = today + timedelta(days=60), today + timedelta(days=30)
    fields = {"machines": "5", "running": "5", "cpus": "20", "reason": "a class"}
    signed_in(ann).post("/requests/quota/", fields | {"until": asked_until.isoformat()})
    row = Request.objects.get()
    assert row.until == asked_until
    later = (asked_until + timedelta(days=1)).isoformat()
    less = {"machines": "3", "running": "3", "cpus": "20"}
    assert "longer than was asked for" in decides(approver, row, "approve_less", **less, until=later)
    decides(approver, row, "approve_less", **less, until=given_until.isoformat())
    assert limits_of(Account(ann.pk)) == Limits(machines=3, running=3, cpus=20)
    assert Quota.objects.get(user=ann).machines == 1  # what is behind it is as it was
    machines = [machine_of(ann, f"box {number}") for number in range(3)]
    end_quotas()
    assert told(ann) == ["request_decided"]
    Raise.objects.update(ends_on=today + timedelta(days=3))
    end_quotas()
    end_quotas()
    assert told(ann) == ["request_decided", "quota_ends"]
    Raise.objects.update(ends_on=today - timedelta(days=1))  # over, and no task has run
    assert limits_of(Account(ann.pk)) == Limits(machines=1, running=1, cpus=2)
    end_quotas()
    end_quotas()
    assert told(ann) == ["request_decided", "quota_ends", "quota_over"]
    assert Machine.objects.filter(pk__in=[each.pk for each in machines]).count() == 3
    with pytest.raises(Refused, match="Your quota is 1 machine"):
        machine_of(ann, "one more")


def test_an_administrator_sees_a_larger_quota_for_a_time_and_ends_it(ann: User, boss: User) -> None:
    day = timezone.now().date() + timedelta(days=9)
    quota_raise(user=ann, limits=Limits(cpus=12), ends_on=day)
    page = signed_in(boss).get(f"/settings/quotas/people/{ann.pk}/").content.decode()
    assert "12 processors." in page
    assert "/ 12" in " ".join(signed_in(boss).get("/settings/quotas/").content.decode().split())
    address = f"/settings/quotas/raises/{Raise.objects.get().pk}/end/"
    assert signed_in(ann).post(address).status_code == 404
    signed_in(boss).post(address)
    assert limits_of(Account(ann.pk)).cpus == 2


def test_what_was_approved_for_a_machine_for_a_time_is_said_before_and_at_its_end(ann: User) -> None:
    today = timezone.now().date()
    Grant.objects.create(machine=machine_of(ann), cpus=2, ends_on=today)
    end_quotas()
    end_quotas()
    Grant.objects.update(ends_on=today - timedelta(days=1))
    end_quotas()
    assert told(ann) == ["quota_ends", "quota_over"]
    assert "what was approved for “web”" in Notice.objects.filter(person=ann).first().text  # type: ignore[union-attr]


def test_a_strangers_request_is_not_there_and_only_who_approves_decides(
    ann: User, ben: User, approver: User
) -> None:
    row = asked(ann)
    auditor = User.objects.create_user("otto", password=people.PASSWORD, audits=True)
    assert signed_in(ben).get(f"/requests/{row.pk}/").status_code == 404
    assert "big" not in signed_in(ben).get("/requests/?state=all").content.decode()
    assert "big" not in signed_in(ben).get("/requests/?state=all&q=ann").content.decode()
    assert signed_in(auditor).get(f"/requests/{row.pk}/").status_code == 200
    for user in (ann, ben, auditor):
        decision = {"decision": "approve", "chosen": [str(row.pk)]}
        refused = 403 if user == auditor else 404
        assert signed_in(user).post(f"/requests/{row.pk}/decide/", decision).status_code == refused
        assert signed_in(user).post("/requests/decide/", decision).status_code == refused
        with pytest.raises(Refused):
            deciding.request_approve(request=row, by=user)
    row.refresh_from_db()
    assert row.state == State.WAITING


def test_the_list_is_filtered(ann: User, approver: User) -> None:
    asked(ann)
    row = asked(ann, "other", reason="only a test")
    decides(approver, row, "decline", comment="no")
    browser = signed_in(approver)
    for query, names in {
        "": ["big"],
        "?state=all": ["big", "other"],
        "?state=declined": ["other"],
        "?state=all&q=only+a": ["other"],
        "?state=all&q=ann": ["big", "other"],
        "?state=all&wanted=quota": [],
        "?state=%00&q=%00": ["big", "other"],
    }.items():
        page = browser.get(f"/requests/{query}").content.decode()
        assert [name for name in ("big", "other") if f"Machine “{name}”" in page] == names, query


def test_the_teams_of_the_person_are_shown_to_who_decides(ann: User, approver: User) -> None:
    team = Team.objects.create(name="lab")
    Membership.objects.create(team=team, user=ann)
    page = signed_in(approver).get(f"/requests/{asked(ann).pk}/").content.decode()
    assert "What lab has" in page


def test_a_person_cannot_bury_the_approvers(ann: User) -> None:
    for number in range(services.MOST_OPEN):
        services.machine_ask(by=ann, wish=wish(f"box {number}"), reason="x", until=None)
    with pytest.raises(Refused, match="wait already"):
        services.machine_ask(by=ann, wish=wish("one more"), reason="x", until=None)


def test_who_is_told_is_told_in_the_same_transaction(ann: User, approver: User) -> None:
    row = asked(ann)
    silence("rack-1")
    decides(approver, row, "approve")  # nothing is decided, so nobody hears of a decision
    assert told(ann) == []
    host_heard()
    with transaction.atomic():
        deciding.request_approve(request=row, by=approver)
        transaction.set_rollback(True)
    assert (told(ann), Machine.objects.count()) == ([], 0)
    decides(approver, row, "approve")
    assert told(ann) == ["request_decided"]


def test_less_is_never_more(ann: User, approver: User) -> None:
    row = services.machine_ask(by=ann, wish=wish("box"), reason="x", until=None)
    for less in (Less(cpus=2), Less(memory_mib=513), Less(disk_bytes=11 * GIB)):
        with pytest.raises(Refused):
            deciding.request_approve(request=row, by=approver, less=less)
    assert Machine.objects.count() == 0
