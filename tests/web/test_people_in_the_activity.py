"""Sharing, teams, requests, quotas, accounts: each act is one line of the activity, and tells those whom it concerns."""

from __future__ import annotations

import pytest

from portal.accounts import invitations, people, registration
from portal.accounts.invitations import Wish
from portal.accounts.models import Invitation, User
from portal.accounts.people import Roles
from portal.audit.models import Entry
from portal.flavours.models import Flavour
from portal.flavours.services import FlavourWish, flavour_add, flavour_remove
from portal.machines.models import Machine
from portal.notices.models import Notice
from portal.quotas.amounts import Limits
from portal.quotas.models import Quota, Whose
from portal.quotas.services import networks_to_ask_for, quota_remove, quota_set
from portal.refusal import Refused
from portal.requests import deciding
from portal.requests import services as requests
from portal.requests.models import Request
from portal.requests.rules import rules_set
from portal.rights.handing_over import move_home, offer_decline, offer_make, offer_take
from portal.rights.levels import Level
from portal.rights.sharing import share_set, share_withdraw
from portal.teams.models import Role
from portal.teams.services import (
    member_add,
    member_remove,
    member_set_role,
    team_change,
    team_create,
    team_delete,
)
from tests.web.people import wish


def said(since: int = 0) -> list[tuple[str, str, str]]:
    """Who did what to what, in order."""
    rows = Entry.objects.filter(pk__gt=since).exclude(action__startswith="operation.").order_by("pk")
    return [(each.actor_name, each.action, each.object_name) for each in rows]


def told(user: User) -> list[str]:
    return list(Notice.objects.filter(person=user).order_by("pk").values_list("kind", flat=True))


@pytest.fixture(autouse=True)
def begun(running: Machine) -> None:
    """What made the machine is no line here."""
    Notice.objects.all().delete()


def test_sharing_and_taking_it_back(running: Machine, ann: User, ben: User) -> None:
    before = Entry.objects.count()
    share = share_set(machine=running, to=ben, level=Level.OPERATE, by=ann)
    share_withdraw(machine=running, share_id=share.pk, by=ann)
    assert said(before) == [("ann", "shared", "web"), ("ann", "share_withdrawn", "web")]
    assert told(ben) == ["shared"]
    assert told(ann) == []


def test_handing_over(running: Machine, ann: User, ben: User) -> None:
    before = Entry.objects.count()
    offer_decline(offer=offer_make(machine=running, to=ben, by=ann), by=ben)
    offer_take(offer=offer_make(machine=running, to=ben, by=ann), name="web", by=ben)
    team = team_create(name="physics", description="", owner=ben, by=ben)
    move_home(machine=running, team=team, by=ben)
    assert [line[:2] for line in said(before)] == [
        ("ann", "offered"), ("ben", "offer_declined"), ("ann", "offered"), ("ben", "handed_over"),
        ("ben", "team_made"), ("ben", "handed_over"),
    ]  # fmt: skip
    assert told(ben) == ["offered", "offered"]
    assert told(ann) == ["handed_over"]


def test_teams(ann: User, ben: User, boss: User) -> None:
    before = Entry.objects.count()
    team = team_create(name="physics", description="", owner=ann, by=boss)
    team_change(team=team, name="chemistry", description="", by=ann)
    team.refresh_from_db()
    member_add(team=team, user=ben, role=Role.VIEWER, by=ann)
    member_set_role(team=team, user_id=ben.pk, role=Role.MEMBER, by=ann)
    with pytest.raises(Refused):
        member_remove(team=team, user_id=ann.pk, by=boss)
    member_remove(team=team, user_id=ben.pk, by=ann)
    team_delete(team=team, by=boss)
    assert said(before) == [
        ("boss", "team_made", "physics"), ("ann", "team_changed", "physics"), ("ann", "team_joined", "chemistry"),
        ("ann", "team_role", "chemistry"), ("ann", "team_left", "chemistry"), ("boss", "team_deleted", "chemistry"),
    ]  # fmt: skip


def test_requests(ann: User, boss: User) -> None:
    before = Entry.objects.count()
    row = requests.machine_ask(by=ann, wish=wish("big"), reason="a course", until=None)
    deciding.request_ask_back(request=row, by=boss, question="For whom?")
    requests.request_answer(request=Request.objects.get(), by=ann, answer="Us")
    deciding.request_decline(request=Request.objects.get(), by=boss, comment="Next year")
    what = "Machine “big”"
    assert said(before) == [
        ("ann", "request_asked", what), ("boss", "request_asked_back", what), ("ann", "request_answered", what),
        ("boss", "request_declined", what),
    ]  # fmt: skip
    assert told(boss) == ["request_asked", "request_asked"]
    assert told(ann) == ["request_decided", "request_decided"]
    assert "Next year" in Notice.objects.filter(person=ann).latest("pk").text


def test_quotas_sizes_and_rules(running: Machine, ann: User, boss: User) -> None:
    before = Entry.objects.count()
    quota_set(of=Whose.EVERY_PERSON, limits=Limits(machines=3), by=boss)
    quota_set(of=ann, limits=Limits(machines=9), by=boss)
    quota_remove(quota=Quota.objects.get(user=ann), by=boss)
    flavour_remove(flavour=flavour_add(wish=FlavourWish("Huge", "", 64, 65536, 500), by=boss), by=boss)
    rules_set(approve_own=False, days=3, by=boss)
    networks_to_ask_for(networks=[running.nics.get().network_id], by=boss)
    assert [line[:2] for line in said(before)] == [
        ("boss", action)
        for action in (
            "quota_set", "quota_set", "quota_removed", "sizes_changed", "sizes_changed", "rules_changed", "rules_changed",
        )
    ]  # fmt: skip
    assert not Flavour.objects.filter(name="Huge").exists()


def test_accounts(ann: User, ben: User, boss: User) -> None:
    before = Entry.objects.count()
    registration.registration_set(is_open=True, by=boss)
    waits = User.objects.create_user("newt", awaits_approval=True, is_active=False)
    registration.tell_administrators(waits)
    registration.approve(user=waits, by=boss)
    wanted = Wish("x@example.org", "xenia", Roles(), None, Role.MEMBER)
    invitations.invite(wish=wanted, by=boss)
    invitations.withdraw(invitation_id=Invitation.objects.get().pk, by=boss)
    link = invitations.invite(wish=wanted, by=boss)
    invitations.accept(token=link.rstrip("/").rpartition("/")[2], name="xenia", password="a long one 1234")
    people.roles_set(user=ben, roles=Roles(auditor=True), by=boss)
    people.switch_off(user=ann, by=boss)
    people.switch_on(user=ann, by=boss)
    people.password_link(user=ann, by=boss)
    assert [line[:2] for line in said(before)] == [
        ("boss", "registration_set"), ("", "registered"), ("boss", "account_approved"), ("boss", "invited"),
        ("boss", "invitation_withdrawn"), ("boss", "invited"), ("xenia", "invitation_used"), ("boss", "roles_set"),
        ("boss", "switched_off"), ("boss", "switched_on"), ("boss", "password_link"),
    ]  # fmt: skip
    assert told(boss) == ["account_waits"]
