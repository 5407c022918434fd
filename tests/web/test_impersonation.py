"""An administrator looks as somebody else: with a reason, for an hour, under both names, and the person is told."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from django.test import Client

from portal.accounts.models import User
from portal.audit.models import Entry
from portal.impersonation.middleware import STAYS_THEIR_OWN
from portal.impersonation.services import SECONDS
from portal.machines.models import Machine
from portal.machines.reports import progress_take
from portal.notices.models import Notice
from tests.web.people import host_heard, machine_of, newest, signed_in, told
from tests.web.site import Browser, Site, code_of

REASON = "she cannot find her machine"


def act_as(browser: Client, person: User, reason: str = REASON) -> Any:
    return browser.post(f"/people/{person.pk}/impersonate/", {"reason": reason}, follow=True)


def who_is(browser: Client) -> str:
    return str(browser.get("/machines/").context["user"].username)


@pytest.fixture
def acting(boss: User, ann: User) -> Client:
    """The administrator's browser, as Ann."""
    browser = signed_in(boss)
    assert "act as <strong>ann</strong>" in act_as(browser, ann).content.decode()
    return browser


def test_every_page_says_it_and_shows_what_the_person_sees(
    acting: Client, running: Machine, ben: User
) -> None:
    machine_of(ben, "bens")
    for address in ("/machines/", f"/machines/{running.pk}/", "/discs/", "/nothing/", "/notices/"):
        page = acting.get(address).content.decode()
        assert "You, boss, act as <strong>ann</strong>" in page, address
    assert ">bens</a>" not in acting.get("/machines/").content.decode()
    for address in ("/hosts/", "/activity/", "/hooks/"):
        assert acting.get(address).status_code == 404


def test_the_person_is_told_at_once_with_the_reason(acting: Client, ann: User) -> None:
    notice = Notice.objects.get()
    assert (notice.person, notice.kind) == (ann, "impersonated")
    assert "boss" in notice.text
    assert REASON in notice.text
    page = signed_in(ann).get("/activity/mine/").content.decode()
    assert "Began to act as somebody else" in page
    assert REASON in page


def test_each_line_has_both_names_and_so_has_the_end_of_what_was_asked(
    acting: Client, running: Machine, ann: User, boss: User
) -> None:
    acting.post(f"/machines/{running.pk}/force-off/")
    progress_take(told(newest(running)))
    for line in Entry.objects.filter(action="operation.force_off"):
        assert (line.actor_name, line.acting_for_name) == ("boss", "ann")
        assert (line.actor_id, line.acting_for_id) == (boss.pk, ann.pk)
    assert Entry.objects.filter(action="operation.force_off").count() == 2
    assert "acting as ann" in signed_in(ann).get(f"/machines/{running.pk}/activity/").content.decode()


def test_stopping_gives_the_administrator_back_and_is_a_line(acting: Client, ann: User) -> None:
    acting.post("/impersonation/end/")
    assert who_is(acting) == "boss"
    assert "act as" not in acting.get("/machines/").content.decode()
    begun, ended = Entry.objects.filter(action__startswith="impersonation").order_by("id")
    assert (begun.actor_name, begun.object_name) == (ended.actor_name, ended.object_name) == ("boss", "ann")
    assert acting.post("/impersonation/end/").status_code == 404


def test_after_an_hour_it_ends_by_itself_and_nothing_more_is_done(
    acting: Client, running: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time() + SECONDS + 1
    monkeypatch.setattr("portal.impersonation.services.time.time", lambda: later)
    answer = acting.post(f"/machines/{running.pk}/force-off/", follow=True)
    assert "The hour is over" in answer.content.decode()
    assert not Entry.objects.filter(action="operation.force_off").exists()
    assert who_is(acting) == "boss"


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_staff": False}, {"password": "another"}])
def test_who_is_no_administrator_any_more_is_nobody(
    acting: Client, boss: User, change: dict[str, object]
) -> None:
    User.objects.filter(pk=boss.pk).update(**change)
    assert acting.get("/machines/").status_code == 302
    assert acting.get("/machines/")["Location"].startswith("/sign-in/")
    assert Entry.objects.filter(action="impersonation_ended", actor_name="boss").count() == 1


def test_what_is_a_persons_own_stays_so(acting: Client, ann: User) -> None:
    before = User.objects.get(pk=ann.pk).password
    for prefix in STAYS_THEIR_OWN:
        assert acting.get(prefix).status_code == 403, prefix
    form = {"old_password": "x", "new_password1": "another good one 7", "new_password2": "another good one 7"}
    assert acting.post("/password/", form).status_code == 403
    assert acting.post("/notices/choices/", {"impersonated": "none"}).status_code == 403
    assert User.objects.get(pk=ann.pk).password == before


@pytest.mark.parametrize("marks", [{"is_staff": True}, {"approves": True}, {"is_active": False}])
def test_nobody_acts_as_who_decides_or_is_switched_off(boss: User, ben: User, marks: dict[str, bool]) -> None:
    User.objects.filter(pk=ben.pk).update(**marks)
    browser = signed_in(boss)
    assert "Nothing was changed" in act_as(browser, ben).content.decode()
    assert who_is(browser) == "boss"
    assert not Notice.objects.exists()


def test_nobody_acts_as_anybody_without_a_reason_or_through_somebody(
    boss: User, ann: User, ben: User
) -> None:
    browser = signed_in(boss)
    act_as(browser, ann, "  \x00 ")
    assert who_is(browser) == "boss"
    act_as(browser, ann)
    assert act_as(browser, ben).status_code == 403
    assert who_is(browser) == "ann"


def test_only_an_administrator_can(ann: User, ben: User) -> None:
    ben.audits = ben.approves = True
    ben.save()
    for person, refused in ((ann, 404), (ben, 403)):  # who reads everything knows that it is there
        answer = signed_in(person).post(f"/people/{ann.pk}/impersonate/", {"reason": REASON})
        assert answer.status_code == refused


def test_nobody_is_signed_in_by_it(acting: Client, ann: User) -> None:
    ann.refresh_from_db()
    assert ann.last_login is None
    assert not Entry.objects.filter(action="sign_in", actor_name="ann").exists()


def test_signing_out_while_acting_ends_all_of_it(acting: Client) -> None:
    acting.post("/sign-out/")
    assert acting.get("/machines/").status_code == 302
    line = Entry.objects.get(action="sign_out")
    assert (line.actor_name, line.acting_for_name) == ("boss", "ann")


@pytest.mark.django_db(transaction=True)
def test_the_sockets_are_the_persons_too_and_end_with_it(
    site: Site, boss: User, ann: User, ben: User
) -> None:
    host_heard()
    hers, his = machine_of(ann), machine_of(ben, "bens")
    with Browser(site, boss) as browser:
        answer = browser.web.post(f"/people/{ann.pk}/impersonate/", data={"reason": REASON})
        assert answer.status_code == 302
        session, token = answer.cookies["sessionid"], answer.cookies["csrftoken"]
        browser.web.cookies.clear()  # the one before is for no domain, and would stand beside it
        browser.web.cookies.update({"sessionid": session, "csrftoken": token})
        browser.web.headers["X-CSRFToken"] = token
        with browser.socket("/ws/live/") as opened:
            opened.send(json.dumps({"watch": [f"machine:{his.pk}", f"machine:{hers.pk}"]}))
            assert json.loads(opened.recv(timeout=20)) == {"watching": True}
            assert browser.web.post(f"/machines/{his.pk}/force-off/").status_code == 404
            assert browser.web.post(f"/machines/{hers.pk}/force-off/").status_code == 302
            assert json.loads(opened.recv(timeout=20)) == {"changed": [f"machine:{hers.pk}"]}
            assert browser.web.post("/impersonation/end/").status_code == 302
            assert code_of(opened) == 4401
