"""Teams: who makes them, who is in them, whose their machines are."""

from __future__ import annotations

import pytest

from portal.accounts.models import User
from portal.machines import cloning, services
from portal.machines.models import Machine
from portal.machines.selectors import machine_level, machines_for
from portal.quotas.amounts import Limits
from portal.quotas.services import quota_set
from portal.refusal import Refused
from portal.rights.levels import Level
from portal.teams import services as teams
from portal.teams.models import Membership, Role, Team
from tests.web.people import done, machine_of, signed_in, wish
from tests.web.test_machine_services import typed
from workers.contract.messages import Observed


@pytest.fixture
def team(ann: User, boss: User) -> Team:
    """Ann owns it."""
    return teams.team_create(name="physics", description="", owner=ann, by=boss)


def test_an_administrator_makes_a_team_and_its_owner_adds_the_others(
    ann: User, ben: User, boss: User
) -> None:
    assert signed_in(ann).get("/teams/new/").status_code == 404
    made = signed_in(boss).post("/teams/new/", {"name": "physics", "description": "x", "username": "ann"})
    team = Team.objects.get()
    assert made["Location"] == f"/teams/{team.pk}/"
    assert signed_in(ben).get(f"/teams/{team.pk}/").status_code == 404
    added = signed_in(ann).post(f"/teams/{team.pk}/members/add/", {"username": "ben", "role": "viewer"})
    assert added.status_code == 302
    page = signed_in(ben).get(f"/teams/{team.pk}/").content.decode()
    assert "Viewer" in page
    assert "Add somebody" not in page
    assert (
        signed_in(ben)
        .post(f"/teams/{team.pk}/members/add/", {"username": "boss", "role": "owner"})
        .status_code
        == 403
    )
    assert "physics" in signed_in(ben).get("/teams/").content.decode()


@pytest.mark.parametrize(
    ("address", "fields", "words"),
    [
        ("members/add/", {"username": "nobody", "role": "member"}, "nobody of that name"),
        ("members/add/", {"username": "ann", "role": "member"}, "is in the team already"),
        ("members/add/", {"username": "ben", "role": "king"}, "Choose one of these"),
        ("change/", {"name": ""}, "The team needs a name"),
        ("change/", {"name": "chemistry"}, "a team of this name already"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    team: Team, ann: User, ben: User, address: str, fields: dict[str, str], words: str
) -> None:
    Team.objects.create(name="chemistry")
    answer = signed_in(ann).post(f"/teams/{team.pk}/{address}", fields)
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert Membership.objects.count() == 1


def test_the_last_owner_stays_until_there_is_another(team: Team, ann: User, ben: User) -> None:
    browser = signed_in(ann)
    for address, fields in (("leave/", {}), ("members/role/", {"user": ann.pk, "role": "member"})):
        shown = browser.post(f"/teams/{team.pk}/{address}", fields, follow=True).content.decode()
        assert "A team needs an owner" in shown
    teams.member_add(team=team, user=ben, role=Role.OWNER, by=ann)
    assert browser.post(f"/teams/{team.pk}/leave/")["Location"] == "/teams/"
    assert list(team.memberships.values_list("user", flat=True)) == [ben.pk]


def test_a_team_with_machines_is_not_deleted(team: Team, ann: User, rack: object) -> None:
    services.machine_create(owner=ann, requested_by=ann, wish=wish(), team=team)
    shown = signed_in(ann).post(f"/teams/{team.pk}/delete/", follow=True).content.decode()
    assert "Nothing was deleted" in shown
    Machine.objects.update(team=None)
    assert signed_in(ann).post(f"/teams/{team.pk}/delete/")["Location"] == "/teams/"
    assert not Team.objects.exists()


def test_the_wizard_asks_whose_it_shall_be_and_takes_no_team_that_one_only_looks_at(
    team: Team, ann: User, ben: User, rack: object
) -> None:
    assert "Belongs to" not in signed_in(ben).get("/machines/new/").content.decode()
    assert "Belongs to" in signed_in(ann).get("/machines/new/").content.decode()
    teams.member_add(team=team, user=ben, role=Role.VIEWER, by=ann)
    refused = signed_in(ben).post("/machines/new/", typed(team=str(team.pk)))
    assert refused.status_code == 422
    assert not Machine.objects.exists()
    teams.member_set_role(team=team, user_id=ben.pk, role=Role.MEMBER, by=ann)
    assert signed_in(ben).post("/machines/new/", typed(team=str(team.pk))).status_code == 302
    machine = Machine.objects.get()
    assert (machine.owner, machine.team) == (ben, team)
    assert machine_level(ann, machine.pk) == Level.OWN
    assert f"/machines/{machine.pk}/" in signed_in(ann).get(f"/teams/{team.pk}/").content.decode()


def test_whoever_sees_the_team_sees_what_it_uses_of_its_quota(
    team: Team, ann: User, ben: User, boss: User, rack: object
) -> None:
    quota_set(of=ann, limits=Limits(machines=7))
    quota_set(of=team, limits=Limits(machines=4, cpus=3))
    machine_of(ann, "her own")
    services.machine_create(owner=ann, requested_by=ann, wish=wish(cpus=2), team=team)
    teams.member_add(team=team, user=ben, role=Role.VIEWER, by=ann)
    otto = User.objects.create_user("otto", audits=True)
    for person in (ann, ben, boss, otto):
        page = signed_in(person).get(f"/teams/{team.pk}/").content.decode()
        assert "What the team uses of its quota" in page
        assert "<span>1 of 4<" in page, person
        assert "<span>2 of 3<" in page, person
        assert page.count("data-field=") == 2  # what nobody has limited is no bar
        assert "of 7" not in page
    quota_set(of=team, limits=Limits())
    assert "of its quota" not in signed_in(ben).get(f"/teams/{team.pk}/").content.decode()


def test_names_are_of_their_home(team: Team, ann: User, rack: object) -> None:
    machine_of(ann, "web")
    services.machine_create(owner=ann, requested_by=ann, wish=wish("web"), team=team)
    with pytest.raises(Refused, match="The team “physics” has a machine of this name"):
        services.machine_create(owner=ann, requested_by=ann, wish=wish("web"), team=team)
    with pytest.raises(Refused, match="You have a machine of this name"):
        machine_of(ann, "web")


def test_who_leaves_the_team_leaves_its_machines(team: Team, ann: User, ben: User, rack: object) -> None:
    teams.member_add(team=team, user=ben, role=Role.MEMBER, by=ann)
    made = services.machine_create(owner=ben, requested_by=ben, wish=wish(), team=team)
    assert machines_for(ben).filter(operations=made).exists()
    teams.member_remove(team=team, user_id=ben.pk, by=ann)
    assert not machines_for(ben).exists()
    machine_of(ben, wish().name)  # its name is the team's, so he may have it again


def test_a_clone_of_a_teams_machine_is_the_teams(
    team: Team, ann: User, ben: User, boss: User, rack: object
) -> None:
    teams.member_add(team=team, user=ben, role=Role.MEMBER, by=ann)
    machine = Machine.objects.get(
        operations=services.machine_create(owner=ann, requested_by=ann, wish=wish(), team=team)
    )
    done(machine)
    services.machine_force_off(machine=machine, by=ann)
    done(machine, Observed.OFF)
    for by, name in ((ben, "his"), (boss, "the administrators")):
        asked = cloning.machine_clone(machine=machine, name=name, linked=False, start=False, by=by)
        done(Machine.objects.get(operations=asked), Observed.OFF)
    assert set(Machine.objects.values_list("name", "owner__username", "team__name")) == {
        (machine.name, "ann", "physics"),
        ("his", "ben", "physics"),
        ("the administrators", "ann", "physics"),
    }
