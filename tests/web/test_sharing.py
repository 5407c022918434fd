"""Sharing a machine, withdrawing it, handing it over: what each side then sees, and what ends at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from websockets.sync.client import ClientConnection

from portal.accounts.models import User
from portal.activity.models import Operation
from portal.audit.models import Entry
from portal.backups.models import Backup
from portal.live import publish
from portal.machines.models import Machine, Template
from portal.machines.selectors import machine_level
from portal.machines.specs import spec_of
from portal.notices.models import Notice
from portal.refusal import Refused
from portal.rights import handing_over, sharing
from portal.rights.audience import audience_of
from portal.rights.levels import Level
from portal.rights.models import Offer, Share
from portal.rights.tasks import end_shares
from portal.teams.models import Membership, Role, Team
from tests.web.people import done, host_heard, machine_of, newest, signed_in
from tests.web.site import Browser, Screen, Site, code_of
from workers.contract.messages import Observed

KEY = b"\x04\x01\x00\x00\x00\x00\x00\x61"
PLEASE = b"\x03\x00\x00\x00\x00\x00\x00\x10\x00\x10"


@pytest.fixture
def team(ben: User) -> Team:
    """Ben's."""
    team = Team.objects.create(name="physics")
    Membership.objects.create(team=team, user=ben, role=Role.OWNER)
    return team


def share(machine: Machine, to: User | Team, level: Level) -> Share:
    return sharing.share_set(machine=machine, to=to, level=level, by=machine.owner)


def test_the_page_shares_and_withdraws_and_says_with_whom(running: Machine, ann: User, ben: User) -> None:
    browser, page = signed_in(ann), f"/machines/{running.pk}/sharing/"
    sent = browser.post(f"/machines/{running.pk}/share/", {"username": "ben", "level": Level.OPERATE.value})
    assert sent.status_code == 302
    shown = browser.get(page).content.decode()
    assert "ben" in shown
    assert "may operate it" in shown
    his = signed_in(ben).get("/machines/").content.decode()
    assert f"/machines/{running.pk}/" in his
    assert "of ann" in his
    found = Share.objects.get()
    assert browser.post(f"/machines/{running.pk}/shares/{found.pk}/withdraw/").status_code == 302
    assert signed_in(ben).get(f"/machines/{running.pk}/").status_code == 404


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"username": "nobody", "level": 2}, "nobody of that name"),
        ({"username": "ann", "level": 2}, "their own machine already"),
        ({"username": "", "level": 2}, "Type a user name or choose a team"),
        ({"username": "ben", "level": 6}, "Choose one of these"),
        ({"username": "ben", "level": 1}, "Choose one of these"),
        ({"username": "ben", "level": "x"}, "Choose one of these"),
        ({"username": "ben", "team": "999999999999999999999", "level": 2}, "Choose one of these"),
    ],
)
def test_what_is_wrong_with_a_share_is_said_at_its_field(
    running: Machine, ann: User, ben: User, fields: dict[str, str | int], words: str
) -> None:
    answer = signed_in(ann).post(f"/machines/{running.pk}/share/", fields)
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not Share.objects.exists()


def test_a_share_may_have_an_end_and_the_clock_alone_ends_it(running: Machine, ann: User, ben: User) -> None:
    browser, today = signed_in(ann), timezone.now().date()
    address, fields = f"/machines/{running.pk}/share/", {"username": "ben", "level": Level.MANAGE.value}
    past = browser.post(address, fields | {"ends_on": (today - timedelta(days=1)).isoformat()})
    assert "That day has passed" in past.content.decode()
    assert browser.post(address, fields | {"ends_on": today.isoformat()}).status_code == 302
    assert f"until {today.day} " in browser.get(f"/machines/{running.pk}/sharing/").content.decode()
    assert f"manage it, until {today.isoformat()}" in Notice.objects.get(person=ben).text
    assert machine_level(ben, running.pk) == Level.MANAGE
    Share.objects.update(ends_on=today - timedelta(days=1))  # the day is over, and no task has run
    assert machine_level(ben, running.pk) is None
    assert signed_in(ben).get(f"/machines/{running.pk}/").status_code == 404
    assert str(running.pk) not in signed_in(ben).get("/machines/").content.decode()
    assert "may manage it" not in browser.get(f"/machines/{running.pk}/sharing/").content.decode()
    assert audience_of(running.pk).people == {ann.pk}
    end_shares()
    assert not Share.objects.exists()
    line = Entry.objects.get(action="share_withdrawn")
    assert (line.details["with"], line.details["until"]) == ("ben", str(today - timedelta(days=1)))


def test_a_second_share_with_the_same_person_replaces_the_first(running: Machine, ben: User) -> None:
    share(running, ben, Level.MANAGE)
    share(running, ben, Level.VIEW_CONSOLE)
    assert machine_level(ben, running.pk) == Level.VIEW_CONSOLE
    assert Share.objects.count() == 1


def test_who_looks_may_not_start_and_is_told_whom_to_ask(running: Machine, ben: User) -> None:
    share(running, ben, Level.VIEW_CONSOLE)
    before = Operation.objects.count()
    answer = signed_in(ben).post(f"/machines/{running.pk}/force-off/")
    assert answer.status_code == 403
    assert "Ask the one whose it is" in answer.content.decode()
    assert Operation.objects.count() == before
    page = signed_in(ben).get(f"/machines/{running.pk}/").content.decode()
    assert "You can only look" in page
    assert "force-off" not in page


def test_who_operates_may_start_it_and_not_give_it_more_memory(running: Machine, ben: User) -> None:
    share(running, ben, Level.OPERATE)
    browser = signed_in(ben)
    assert browser.post(f"/machines/{running.pk}/force-off/").status_code == 302
    assert newest(running).requested_by == ben
    assert browser.post(f"/machines/{running.pk}/hardware/size/").status_code == 403
    assert browser.post(f"/machines/{running.pk}/delete/", {"name": "web"}).status_code == 403


def test_of_several_ways_the_highest_counts(running: Machine, ben: User, team: Team) -> None:
    share(running, ben, Level.VIEW_CONSOLE)
    share(running, team, Level.MANAGE)
    assert machine_level(ben, running.pk) == Level.MANAGE
    Membership.objects.update(role=Role.VIEWER)  # who looks in the team looks at what is shared with it
    assert machine_level(ben, running.pk) == Level.VIEW_CONSOLE


def test_an_auditor_sees_everything_and_changes_nothing_not_even_their_own(
    running: Machine, ann: User, boss: User
) -> None:
    User.objects.filter(pk=ann.pk).update(audits=True)
    browser = signed_in(ann)
    page = browser.get(f"/machines/{running.pk}/")
    assert page.status_code == 200
    assert "not its screen" in page.content.decode()
    assert browser.post(f"/machines/{running.pk}/force-off/").status_code == 403
    assert "changes nothing" in browser.post("/machines/new/").content.decode()
    assert "New machine" not in browser.get("/machines/").content.decode()


def test_a_clone_of_a_shared_machine_is_theirs_who_asked(machine: Machine, ann: User, ben: User) -> None:
    off = _off(machine)
    share(off, ben, Level.MANAGE)
    fields = {"name": "mine", "how": "full"}
    assert signed_in(ben).post(f"/machines/{off.pk}/clone/", fields).status_code == 302
    assert Machine.objects.get(name="mine").owner == ben
    assert machine_level(ann, Machine.objects.get(name="mine").pk) is None
    assert signed_in(ben).post(f"/machines/{off.pk}/publish/", {"name": "base"}).status_code == 403
    assert not Template.objects.exists()


def test_a_machine_is_handed_over_when_the_other_one_takes_it(running: Machine, ann: User, ben: User) -> None:
    carl = User.objects.create_user("carl")
    share(running, carl, Level.VIEW_CONSOLE)
    spec = spec_of(running).model_dump(mode="json")
    Backup.objects.create(
        machine=running,
        source_id=running.pk,
        machine_name="web",
        owner=ann,
        host=running.host,
        place="main",
        spec=spec,
    )
    assert signed_in(ann).post(f"/machines/{running.pk}/hand-over/", {"username": "ben"}).status_code == 302
    assert machine_level(ben, running.pk) is None  # not before it is taken
    browser = signed_in(ben)
    assert "wants to hand the machine" in browser.get("/machines/").content.decode()
    offer = Offer.objects.get()
    assert signed_in(carl).post(f"/machines/offers/{offer.pk}/", {"name": "web"}).status_code == 404
    assert browser.post(f"/machines/offers/{offer.pk}/", {"name": "web", "answer": "take"}).status_code == 302
    running.refresh_from_db()
    assert (running.owner, running.team) == (ben, None)
    assert Backup.objects.get().owner == ben
    assert machine_level(ann, running.pk) is None
    assert machine_level(carl, running.pk) is None  # what was shared is not any more
    assert not Offer.objects.exists()


def test_a_name_that_the_new_owner_has_already_is_chosen_anew(running: Machine, ann: User, ben: User) -> None:
    machine_of(ben, "web")
    offer = handing_over.offer_make(machine=running, to=ben, by=ann)
    browser, address = signed_in(ben), f"/machines/offers/{offer.pk}/"
    refused = browser.post(address, {"name": "web", "answer": "take"})
    assert refused.status_code == 422
    assert "You have a machine of this name already" in refused.content.decode()
    running.refresh_from_db()
    assert running.owner == ann
    assert browser.post(address, {"name": "web of ann", "answer": "take"}).status_code == 302
    running.refresh_from_db()
    assert (running.owner, running.name) == (ben, "web of ann")
    assert newest(running).kind == "change"  # its host writes its name too


def test_an_offer_is_declined_or_withdrawn_and_then_it_is_over(
    running: Machine, ann: User, ben: User
) -> None:
    offer = handing_over.offer_make(machine=running, to=ben, by=ann)
    signed_in(ben).post(f"/machines/offers/{offer.pk}/", {"answer": "decline"})
    assert not Offer.objects.exists()
    offer = handing_over.offer_make(machine=running, to=ben, by=ann)
    assert signed_in(ann).post(f"/machines/{running.pk}/offer/withdraw/").status_code == 302
    assert signed_in(ben).get(f"/machines/offers/{offer.pk}/").status_code == 404
    with pytest.raises(Refused, match="withdrawn"):
        handing_over.offer_take(offer=offer, name="web", by=ben)


def test_who_lost_the_machine_has_nothing_to_offer(
    running: Machine, ann: User, ben: User, team: Team
) -> None:
    member = Membership.objects.create(team=team, user=ann, role=Role.MEMBER)
    handing_over.move_home(machine=running, team=team, by=ann)
    offer = handing_over.offer_make(machine=running, to=User.objects.create_user("carl"), by=ann)
    member.delete()
    with pytest.raises(Refused, match="lost the right"):
        handing_over.offer_take(offer=offer, name="web", by=offer.to)
    running.refresh_from_db()
    assert running.team == team


def test_a_machine_becomes_a_teams_and_ones_own_again(
    running: Machine, ann: User, ben: User, team: Team
) -> None:
    browser, address = signed_in(ann), f"/machines/{running.pk}/move-home/"
    assert browser.post(address, {"team": team.pk}).status_code == 422  # she is not in it
    Membership.objects.create(team=team, user=ann, role=Role.MEMBER)
    assert browser.post(address, {"team": team.pk}).status_code == 302
    assert machine_level(ben, running.pk) == Level.OWN
    assert machine_level(ann, running.pk) == Level.OWN  # she made it
    assert browser.post(address, {"team": ""}).status_code == 302
    assert machine_level(ben, running.pk) is None
    running.refresh_from_db()
    assert (running.owner, running.team) == (ann, None)


def test_the_list_costs_no_more_with_many_shares(
    running: Machine, ben: User, team: Team, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    share(running, ben, Level.OPERATE)
    for number in range(20):
        other = Machine.objects.create(
            owner=running.owner, host=running.host, name=f"box {number}", cpus=1, memory_mib=512, boot_from="disk",
            power="off", team=team if number % 2 else None,
        )  # fmt: skip
        share(other, ben, Level.VIEW_CONSOLE)
        if number % 2 == 0:
            share(other, team, Level.MANAGE)
    browser = signed_in(ben)
    with django_assert_max_num_queries(10):
        shown = browser.get("/machines/").content.decode()
    assert shown.count('<tr id="machine-') == 21


def _off(machine: Machine) -> Machine:
    from portal.machines import services

    done(machine)
    services.machine_force_off(machine=machine, by=machine.owner)
    return done(machine, Observed.OFF)


@contextmanager
def _watching(browser: Browser, *topics: str) -> Iterator[ClientConnection]:
    with browser.socket("/ws/live/") as live:
        live.send(json.dumps({"watch": topics}))
        assert json.loads(live.recv(timeout=20)) == {"watching": True}
        yield live


@pytest.mark.parametrize("by_the_clock", [False, True])
@pytest.mark.django_db(transaction=True)
def test_withdrawing_or_its_end_closes_the_open_console_and_tells_the_open_pages_at_once(
    site: Site, ann: User, ben: User, by_the_clock: bool
) -> None:
    host_heard(gateway=f"unix:{site.gateway_socket}")
    machine = done(machine_of(ann))
    topic = f"machine:{machine.pk}"
    given = share(machine, ben, Level.USE_CONSOLE)
    with Screen(site, machine.pk) as screen, Browser(site, ben) as browser:
        with (
            _watching(browser, topic, "machines") as live,
            browser.console(machine, browser.ticket(machine)) as console,
            screen.looked_at() as vnc,
        ):
            console.send(KEY)
            assert vnc.recv(100) == KEY
            if by_the_clock:
                Share.objects.update(ends_on=timezone.now().date() - timedelta(days=1))
                end_shares()
            else:
                sharing.share_withdraw(machine=machine, share_id=given.pk, by=ann)
            assert code_of(console) == 4404
            assert set(json.loads(live.recv(timeout=20))["changed"]) <= {topic, "machines"}
        assert browser.web.get(f"/machines/{machine.pk}/").status_code == 404
        with _watching(browser, topic, "library") as live:
            publish.machine_changed(machine.pk)
            publish.library_changed()
            assert json.loads(live.recv(timeout=20)) == {"changed": ["library"]}  # and nothing of the machine


@pytest.mark.django_db(transaction=True)
def test_a_console_that_may_do_less_than_before_is_opened_anew_and_then_only_shows(
    site: Site, ann: User, ben: User
) -> None:
    host_heard(gateway=f"unix:{site.gateway_socket}")
    machine = done(machine_of(ann))
    share(machine, ben, Level.USE_CONSOLE)
    with Screen(site, machine.pk) as screen, Browser(site, ben) as browser:
        with browser.console(machine, browser.ticket(machine)) as console, screen.looked_at():
            share(machine, ben, Level.VIEW_CONSOLE)
            assert code_of(console) == 4409
        with browser.console(machine, browser.ticket(machine)) as console, screen.looked_at() as vnc:
            console.send(b"RFB 003.008\n\x01\x00" + KEY)
            console.send(PLEASE)
            got = b""
            while not got.endswith(PLEASE):
                got += vnc.recv(100)
            assert got == b"RFB 003.008\n\x01\x01" + PLEASE
            console.send(b"\x07nonsense")
            assert code_of(console) == 4000
