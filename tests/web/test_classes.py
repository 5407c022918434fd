"""Classes: machines for many people in one go, all or none, and operated together."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from portal.accounts.models import User
from portal.activity.models import Kind
from portal.audit.models import Entry
from portal.classes.models import Class, Member
from portal.classes.selectors import progress_of
from portal.machines import services
from portal.machines.models import Disk, Machine, Template
from portal.machines.reports import observed_take, progress_take
from portal.networks.services import private_network
from portal.notices.models import Notice
from portal.quotas.amounts import Limits
from portal.quotas.models import Grant
from portal.quotas.services import quota_set
from portal.rights.models import Share
from portal.teams.models import Membership, Role, Team
from tests.web import people
from tests.web.people import done, host_heard, newest, seen, signed_in, told
from tests.web.test_copies import publish
from workers.contract.messages import Observed, OperationState
from workers.contract.spec import Power


@pytest.fixture
def template(machine: Machine) -> Template:
    """Ann's, for everybody."""
    people.done(machine)
    services.machine_force_off(machine=machine, by=machine.owner)
    return publish(people.done(machine, Observed.OFF))


@pytest.fixture
def pupils(db: None) -> list[User]:
    return [User.objects.create_user(f"pupil{n:02}", email=f"pupil{n:02}@example.org") for n in range(30)]


@pytest.fixture
def team(ann: User, pupils: list[User]) -> Team:
    """Ann owns it; three pupils are in it, and one only looks."""
    team = Team.objects.create(name="physics")
    Membership.objects.create(team=team, user=ann, role=Role.OWNER)
    for pupil in pupils[:3]:
        Membership.objects.create(team=team, user=pupil, role=Role.MEMBER)
    Membership.objects.create(team=team, user=pupils[3], role=Role.VIEWER)
    return team


def typed(template: Template, **changes: Any) -> dict[str, Any]:
    fields = {
        "name": "course", "template": str(template.pk), "team": "", "people": "",
        "network": str(private_network().pk), "start": "on",
    }  # fmt: skip
    return fields | changes


def ask(user: User, template: Template, **changes: Any) -> Any:
    return signed_in(user).post("/classes/new/", typed(template, **changes))


def make(user: User, template: Template, **changes: Any) -> Class:
    answer = ask(user, template, confirmed="yes", **changes)
    assert answer.status_code == 302, answer.content.decode()
    return Class.objects.get(pk=UUID(answer["Location"].split("/")[2]))


def machines_made() -> int:
    return Machine.objects.exclude(name="web").count()


def small(boss: User, template: Template, pupils: list[User], n: int = 3) -> Class:
    return make(boss, template, people="\n".join(each.username for each in pupils[:n]))


def act(user: User, made: Class, what: str) -> str:
    answer = signed_in(user).post(f"/classes/{made.pk}/act/", {"act": what}, follow=True)
    return answer.content.decode()


def test_thirty_people_of_a_file_get_a_machine_each_named_after_them(
    template: Template, pupils: list[User], boss: User
) -> None:
    rows = ["mail;machine", *(f"{each.email.upper()};" for each in pupils[:29]), "pupil29;the last one"]
    file = SimpleUploadedFile("class.csv", "\ufeff".encode() + "\r\n".join(rows).encode())
    preview = ask(boss, template, file=file).content.decode()
    assert "Make 30 machines" in preview
    assert "pupil00-course" in preview
    assert "30 processors" in preview
    assert machines_made() == 0
    people_shown = preview.split("<textarea")[1].split(">", 1)[1].split("</textarea>")[0]
    made = make(boss, template, people=people_shown)
    assert machines_made() == made.members.count() == 30
    for pupil in pupils[:29]:
        [machine] = Machine.objects.filter(owner=pupil)
        assert (machine.name, machine.team) == (f"{pupil.username}-course", None)
        assert machine.disks.get().base is not None
    assert Machine.objects.get(owner=pupils[29]).name == "the last one"
    assert Share.objects.filter(user=boss).count() == 30
    assert "pupil00-course" in Notice.objects.get(person=pupils[0]).text
    assert Entry.objects.get(action="class_made").actor_name == "boss"
    page = signed_in(boss).get(f"/classes/{made.pk}/").content.decode()
    assert "0 of 30 done" in page
    assert "30 under way" in page


def test_a_class_may_stay_off_until_somebody_starts_it(
    template: Template, pupils: list[User], boss: User
) -> None:
    listed = "\n".join(each.username for each in pupils[:3])
    assert (
        "stay off until somebody starts them" in ask(boss, template, people=listed, start="").content.decode()
    )
    made = make(boss, template, people=listed, start="")
    wanted = {each.machine.power for each in made.members.select_related("machine") if each.machine}
    assert wanted == {Power.OFF}
    assert "started as soon as" in ask(boss, template, people=pupils[4].username).content.decode()


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ("pupil01\nnobody", "Line 2: there is nobody “nobody” here"),
        ("pupil01\npupil02\npupil01@example.org", "Line 3: “pupil01@example.org” is on line 1 already"),
        ("pupil01,=1+1", "Line 1: it begins like a formula"),
        ("@SUM(A1)", "Line 1: it begins like a formula"),
        ("pupil01," + "x" * 64, "Line 1: A name has at most 63 characters"),
        ("pupil01,a,b", "Line 1: it has more than two columns"),
        ('"pupil01', "Line 1: it cannot be read"),
        ("pupil01,a\x01b", "characters that cannot be seen"),
        ("", "The list names nobody"),
        ("pupil01\n" * 201, "at most 200 people"),
        ("x" * 70_000, "larger than 64 KB"),
    ],
)
def test_what_is_wrong_in_the_list_is_said_by_its_line_and_nothing_is_made(
    template: Template, pupils: list[User], boss: User, listed: str, words: str
) -> None:
    for confirmed in ("", "yes"):
        answer = ask(boss, template, people=listed, confirmed=confirmed)
        assert answer.status_code == 422
        assert words in answer.content.decode()
    assert machines_made() == 0
    assert not Class.objects.exists()


@pytest.mark.parametrize("raw", [b"\xff\xfep\x00", b"p\xfcpil"])
def test_a_file_that_is_no_utf8_is_refused(template: Template, boss: User, raw: bytes) -> None:
    answer = ask(boss, template, file=SimpleUploadedFile("class.csv", raw))
    assert answer.status_code == 422
    assert "no text in UTF-8" in answer.content.decode()


def test_a_name_that_is_taken_is_said_and_nothing_is_made(
    template: Template, pupils: list[User], boss: User
) -> None:
    people.machine_of(pupils[1], "pupil01-course")
    before = Machine.objects.count()
    answer = ask(boss, template, people="pupil00\npupil01")
    assert answer.status_code == 422
    assert "For pupil01, machine “pupil01-course”" in answer.content.decode()
    assert Machine.objects.count() == before


def test_where_the_host_has_no_room_for_all_nobody_gets_one(
    template: Template, pupils: list[User], boss: User
) -> None:
    host_heard(memory_free_mib=3000)
    for confirmed in ("", "yes"):
        answer = ask(boss, template, people="\n".join(each.username for each in pupils), confirmed=confirmed)
        assert answer.status_code == 422
        assert "of memory free now" in answer.content.decode()
    assert machines_made() == 0
    assert not Notice.objects.filter(kind="class_machine").exists()


def test_an_administrators_class_goes_over_a_quota_as_approved(
    template: Template, pupils: list[User], boss: User
) -> None:
    quota_set(of=pupils[0], limits=Limits(machines=0))
    small(boss, template, pupils)
    assert Grant.objects.get().machine.owner == pupils[0]


def test_an_owner_of_a_team_makes_a_class_of_its_members_within_its_quota(
    template: Template, team: Team, ann: User, ben: User
) -> None:
    quota_set(of=team, limits=Limits(machines=3))
    refused = ask(ann, template, team=str(team.pk))
    assert refused.status_code == 422
    assert "The quota of the team “physics” is 3 machines" in refused.content.decode()
    assert machines_made() == 0
    made = make(ann, template, team=str(team.pk), people="pupil00\npupil01")
    assert {each.machine.team for each in made.members.select_related("machine__team") if each.machine} == {
        team
    }
    assert "course" in signed_in(ann).get("/classes/").content.decode()
    assert signed_in(ben).get(f"/classes/{made.pk}/").status_code == 404
    assert signed_in(ben).post(f"/classes/{made.pk}/act/", {"act": "start"}).status_code == 404
    assert signed_in(ben).get("/classes/new/").status_code == 404


def test_a_team_without_a_list_is_a_machine_for_each_who_may_have_one_there(
    template: Template, team: Team, ann: User, pupils: list[User]
) -> None:
    for member, change in ((pupils[4], {"audits": True}), (pupils[5], {"is_active": False})):
        Membership.objects.create(team=team, user=member, role=Role.MEMBER)
        User.objects.filter(pk=member.pk).update(**change)
    preview = ask(ann, template, team=str(team.pk)).content.decode()
    assert "Make 4 machines" in preview
    assert "pupil03" not in preview  # looks only
    made = make(ann, template, team=str(team.pk))
    expected = [(name, f"{name}-course") for name in ("ann", "pupil00", "pupil01", "pupil02")]
    assert list(made.members.order_by("person_name").values_list("person_name", "machine_name")) == expected
    machines = Machine.objects.filter(team=team).order_by("name")
    assert list(machines.values_list("owner__username", "name")) == expected
    assert machines_made() == 4


def test_the_preview_shows_what_the_team_would_use_of_its_quota(
    template: Template, team: Team, ann: User, boss: User, pupils: list[User]
) -> None:
    make(ann, template, team=str(team.pk), people="pupil00", name="before")
    quota_set(of=team, limits=Limits(machines=6, running=8, memory_mib=4096, snapshots=9))
    started = ask(ann, template, team=str(team.pk)).content.decode()
    assert bars(started) == {
        "machines": "1 of 6, afterwards 5", "running": "1 of 8, afterwards 5",
        "memory_mib": "512 MB of 4 GB, afterwards 2.5 GB",
    }  # fmt: skip
    assert 'quota-bar is-over"' not in started
    off = ask(ann, template, team=str(team.pk), start="").content.decode()
    assert bars(off)["running"] == "1 of 8"
    assert bars(off)["machines"] == "1 of 6, afterwards 5"
    quota_set(of=team, limits=Limits(machines=4))
    over = ask(boss, template, team=str(team.pk)).content.decode()
    assert 'quota-bar is-over" data-field="machines"' in over
    each_to_its_person = ask(boss, template, people="pupil00").content.decode()
    assert bars(each_to_its_person) == {}
    assert "counts for that person’s quota" in each_to_its_person


def bars(page: str) -> dict[str, str]:
    """What each bar of a page says."""
    found = {}
    for bar in page.split('<div class="quota-bar')[1:]:
        field = re.search(r'data-field="(\w+)"', bar)
        assert field is not None
        words = re.sub(r"<span[^>]* hidden>.*?</strong></span>", "", bar.partition("</div>")[0])
        found[field[1]] = re.sub("<[^>]*>", "", words.split("</span>", 1)[1])
    return found


@pytest.mark.parametrize("who", ["pupil03", "pupil04", "boss@example.org"])
def test_who_is_not_in_the_team_or_only_looks_there_is_named_alike(
    template: Template, team: Team, ann: User, who: str
) -> None:
    answer = ask(ann, template, team=str(team.pk), people=who)
    assert f"Line 1: “{who}” is no owner or member of the team “physics”" in answer.content.decode()


def test_an_owner_of_a_team_makes_none_for_others(
    template: Template, team: Team, ann: User, pupils: list[User]
) -> None:
    other = Team.objects.create(name="chemistry")
    for chosen in ("", str(other.pk)):
        assert ask(ann, template, team=chosen, people="pupil00", confirmed="yes").status_code == 422
    assert machines_made() == 0


def test_what_one_machine_cannot_do_is_named_and_hinders_no_other(
    template: Template, pupils: list[User], boss: User
) -> None:
    made = small(boss, template, pupils)
    machines = [each.machine for each in made.members.select_related("machine__host")]
    for machine in machines:
        assert machine is not None
        done(machine, Observed.OFF if machine.owner == pupils[1] else Observed.RUNNING)
    made.refresh_from_db()
    assert progress_of(made).done == 3
    shown = act(boss, made, "shut_down")
    assert "Asked of 2 machines" in shown
    assert "pupil01-course: The machine is not running." in shown
    made.refresh_from_db()
    now = progress_of(made)
    assert (now.under_way, now.refused, now.failed) == (2, 1, 0)
    [first, _second, third] = made.members.select_related("machine__host", "operation")
    assert first.machine is not None
    assert third.machine is not None
    progress_take(told(newest(first.machine), OperationState.FAILED))
    done(third.machine, Observed.OFF)
    now = progress_of(made)
    assert (now.done, now.failed, now.refused, now.under_way) == (1, 1, 1, 0)
    assert "Choose one of the buttons" in act(boss, made, "delete")


def test_all_are_started_and_all_are_forced_off_each_by_itself(
    template: Template, pupils: list[User], boss: User
) -> None:
    made = make(boss, template, people="pupil00\npupil01\npupil02", start="")
    for member in made.members.select_related("machine__host"):
        assert member.machine is not None
        done(member.machine, Observed.OFF)
    for what, power, seen_then in (
        (Kind.START, Power.RUNNING, Observed.RUNNING),
        (Kind.FORCE_OFF, Power.OFF, Observed.OFF),
    ):
        assert "Asked of 3 machines" in act(boss, made, what)
        assert progress_of(made).under_way == 3
        for member in made.members.select_related("machine__host", "operation"):
            assert member.machine is not None
            assert member.operation == newest(member.machine)
            assert (member.operation.kind, member.machine.power) == (what, power)
            assert done(member.machine, seen_then).observed == seen_then
        assert progress_of(made).done == 3
        assert "3 of 3 done" in signed_in(boss).get(f"/classes/{made.pk}/").content.decode()


def test_a_class_is_made_anew_and_is_again_as_its_template(
    template: Template, pupils: list[User], boss: User
) -> None:
    made = small(boss, template, pupils)
    machines = [each.machine for each in made.members.select_related("machine__host") if each.machine]
    for machine in machines:
        done(machine, Observed.OFF if machine.owner == pupils[1] else Observed.RUNNING)
    before = set(Disk.objects.filter(machine__in=machines).values_list("pk", flat=True))
    assert "Asked of 3 machines" in act(boss, made, "renew")
    disks = Disk.objects.filter(machine__in=machines).select_related("base__template")
    assert {disk.base.template for disk in disks if disk.base} == {template}
    assert len(disks) == 3
    assert not before & {disk.pk for disk in disks}
    made.refresh_from_db()
    assert "Make anew" in signed_in(boss).get(f"/classes/{made.pk}/").content.decode()
    for machine in machines:
        done(machine, Observed.OFF if machine.owner == pupils[1] else Observed.RUNNING)
    assert progress_of(made).done == 3


def test_all_are_deleted_by_the_name_of_the_class_and_then_it_can_go(
    template: Template, pupils: list[User], boss: User
) -> None:
    made = small(boss, template, pupils)
    browser = signed_in(boss)
    address = f"/classes/{made.pk}/"
    wrong = browser.post(f"{address}delete-machines/", {"name": "other"}, follow=True).content.decode()
    assert "The name does not match. Nothing was deleted." in wrong
    assert "Delete them first" in browser.post(f"{address}remove/", follow=True).content.decode()
    browser.post(f"{address}delete-machines/", {"name": "course"})
    for member in made.members.select_related("machine__host"):
        assert member.machine is not None
        machine = member.machine
        progress_take(told(newest(machine)))
        observed_take(seen(machine, Observed.GONE))
    assert machines_made() == 0
    made.refresh_from_db()
    assert progress_of(made).done == 3
    assert "Deleted" in browser.get(address).content.decode()
    assert browser.post(f"{address}remove/")["Location"] == "/classes/"
    assert not Member.objects.exists()


def test_whoever_makes_administrators_no_more_loses_what_that_gave(
    template: Template, pupils: list[User], boss: User
) -> None:
    made = small(boss, template, pupils)
    User.objects.filter(pk=boss.pk).update(is_staff=False)
    boss.refresh_from_db()
    shown = (
        signed_in(boss)
        .post(f"/classes/{made.pk}/delete-machines/", {"name": "course"}, follow=True)
        .content.decode()
    )
    assert "You may not do that with this machine." in shown
    assert "Asked of" not in shown
