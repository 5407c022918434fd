"""The activity: each thing that is done gives one line with who, from where and what came of it, and no line goes unseen."""

from __future__ import annotations

import csv
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections, transaction
from django.test import Client
from pytest_django import DjangoCaptureOnCommitCallbacks

from portal.accounts.models import User
from portal.audit import chain, checking
from portal.audit.actions import Action, ObjectKind, Result
from portal.audit.models import Entry, Head
from portal.audit.services import of_machine, of_person, record
from portal.audit.triggers import CREATE, DROP
from portal.fleet.models import Host
from portal.images import services as images
from portal.machines import services
from portal.machines.models import Machine
from portal.machines.reports import observed_take, progress_take
from portal.networks import changing, uplinks
from portal.networks.changing import NetworkWish
from portal.networks.models import Network
from portal.notices.models import Notice
from tests.web.people import (
    PASSWORD,
    done,
    host_heard,
    image_named,
    interface,
    newest,
    nobody,
    seen,
    signed_in,
    told,
)
from workers.contract.messages import EndReason, Observed, OperationState
from workers.contract.networks import NetworkKind

HERE = "192.0.2.7"


def browser_of(user: User) -> Client:
    """Somebody at an address of their own."""
    browser = Client(REMOTE_ADDR=HERE)
    browser.force_login(user)
    return browser


def lines(action: str) -> list[Entry]:
    return list(Entry.objects.filter(action=action).order_by("id"))


def only(action: str, result: Result = Result.DONE) -> Entry:
    """The line, of which there is exactly one."""
    (found,) = Entry.objects.filter(action=action, result=result)
    return found


def by_hand(*statements: str) -> None:
    """What somebody does who is in the database, past its triggers."""
    with connection.cursor() as cursor:
        for statement in (*DROP[connection.vendor], *statements, *CREATE[connection.vendor]):
            cursor.execute(statement)


@pytest.fixture
def chained(ann: User) -> list[Entry]:
    """Five lines in their places."""
    for number in range(5):
        record(Action.IMAGE_ADDED, by=ann, about=(ObjectKind.IMAGE, number, f"disc {number}"))
    chain.extend()
    return list(Entry.objects.order_by("id"))


# What is written down


def test_an_operation_gives_a_line_when_it_is_asked_for_and_one_when_it_ends(
    running: Machine, ann: User
) -> None:
    browser_of(ann).post(f"/machines/{running.pk}/force-off/")
    asked = only("operation.force_off", Result.ASKED)
    assert (asked.actor_id, asked.actor_name, asked.address) == (ann.pk, "ann", HERE)
    assert (asked.object_kind, asked.object_id, asked.object_name) == ("machine", str(running.pk), "web")
    assert len(asked.session) == 16
    progress_take(told(newest(running)))
    ended = only("operation.force_off", Result.DONE)
    assert (ended.actor_name, ended.address, ended.session) == ("ann", HERE, asked.session)
    assert ended.operation_id == asked.operation_id


def test_an_operation_that_failed_says_why(running: Machine, ann: User) -> None:
    services.machine_restart(machine=running, by=ann)
    progress_take(told(newest(running), OperationState.FAILED))
    assert only("operation.restart", Result.FAILED).details["error"] == "launch_failed"


def test_what_was_asked_in_vain_leaves_no_line(running: Machine, ann: User) -> None:
    before = Entry.objects.count()
    browser = browser_of(ann)
    browser.post(f"/machines/{running.pk}/start/")  # it runs already
    assert Entry.objects.count() == before + 1  # she signed in


def test_a_deletion_ends_with_a_line_though_the_machine_is_gone(running: Machine, ann: User) -> None:
    name, pk = running.name, running.pk
    services.machine_delete(machine=running, name=name, by=ann)
    assert observed_take(seen(running, Observed.GONE))
    ended = only("operation.delete", Result.DONE)
    assert (ended.object_id, ended.object_name, ended.actor_name) == (str(pk), name, "ann")


def test_a_machine_that_ends_by_itself_has_a_line_of_nobodys(running: Machine) -> None:
    assert observed_take(seen(running, Observed.OFF, reason=EndReason.CRASH))
    line = only(Action.MACHINE_ENDED, Result.FAILED)
    assert (line.actor_id, line.address, line.details["why"]) == (None, "", "crash")
    assert observed_take(seen(running, Observed.OFF, reason=EndReason.CRASH))
    assert len(lines(Action.MACHINE_ENDED)) == 1


def test_signing_in_and_out_and_failing_to_are_lines_each(ann: User) -> None:
    browser = Client(REMOTE_ADDR=HERE)
    browser.post("/sign-in/", {"login": "ann", "password": "wrong"})
    browser.post("/sign-in/", {"login": "ann", "password": PASSWORD})
    browser.post("/sign-out/")
    failed = only(Action.SIGN_IN_FAILED, Result.FAILED)
    assert (failed.actor_id, failed.object_name, failed.address) == (None, "ann", HERE)
    came, went = only(Action.SIGN_IN), only(Action.SIGN_OUT)
    assert (came.actor_name, came.address) == (went.actor_name, went.address) == ("ann", HERE)
    assert came.session == went.session != ""


def test_what_was_typed_for_a_name_and_is_none_is_not_kept(ann: User) -> None:
    Client(REMOTE_ADDR=HERE).post("/sign-in/", {"login": PASSWORD, "password": "ann"})
    line = only(Action.SIGN_IN_FAILED, Result.FAILED)
    assert PASSWORD not in json.dumps(line.details) + line.object_name + line.actor_name
    assert line.address == HERE


def test_a_closed_door_is_told_from_a_wrong_password(ann: User) -> None:
    for attempt in range(7):
        Client().post("/sign-in/", {"login": "ann", "password": f"wrong {attempt}"})
    assert Entry.objects.filter(action=Action.SIGN_IN_FAILED, result=Result.FAILED).count() == 5
    assert Entry.objects.filter(action=Action.SIGN_IN_FAILED, result=Result.REFUSED).count() == 2


def test_a_new_password_is_a_line_without_it(ann: User) -> None:
    new = "another good long one 7"
    fields = {"oldpassword": PASSWORD, "password1": new, "password2": new}
    browser_of(ann).post("/account/password/", fields)
    line = only(Action.PASSWORD_CHANGED)
    assert (line.actor_name, line.address, line.details) == ("ann", HERE, {})


def test_the_library_the_networks_and_the_ports_give_lines(
    running: Machine,
    ann: User,
    boss: User,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    image = image_named(added_by=ann)
    images.image_change(image, by=ann)
    images.image_delete(image=image, by=ann)
    assert only(Action.IMAGE_CHANGED).object_name == only(Action.IMAGE_DELETED).object_name == image.name
    host = host_heard(interfaces=(interface("br0", "eth0"),))
    office = changing.network_create(wish=NetworkWish("office", NetworkKind.BRIDGED), by=boss)
    uplinks.uplink_set(network=office, host=host, bridge="br0", by=boss)
    changing.network_rename(network=office, name="desk", by=boss)
    uplinks.uplink_remove(network=office, host=host, by=boss)
    changing.network_delete(network=Network.objects.get(name="desk"), by=boss)
    for action in (
        Action.NETWORK_MADE,
        Action.UPLINK_SET,
        Action.NETWORK_CHANGED,
        Action.UPLINK_REMOVED,
        Action.NETWORK_DELETED,
    ):
        assert only(action).actor_name == "boss", action
    browser = browser_of(ann)
    nic = running.nics.get()
    page = f"/machines/{running.pk}"
    browser.post(
        f"{page}/ports/publish/",
        {"nic": str(nic.pk), "service": "own", "protocol": "tcp", "guest_port": "22"},
    )
    done(running)
    browser.post(f"{page}/ports/{nic.published_ports.get().pk}/withdraw/")
    done(running)
    published, withdrawn = only(Action.PORT_PUBLISHED), only(Action.PORT_WITHDRAWN)
    assert published.details["guest_port"] == withdrawn.details["guest_port"] == 22
    assert published.address == HERE


def test_a_line_goes_with_what_it_tells_of_where_that_is_taken_back(ann: User) -> None:
    with transaction.atomic():
        record(Action.IMAGE_ADDED, by=ann)
        transaction.set_rollback(True)
    assert not lines(Action.IMAGE_ADDED)


# The chain


def test_a_whole_chain_is_found_whole(chained: list[Entry]) -> None:
    found = checking.check()
    assert (found.is_whole, found.count, found.last) == (True, 5, Entry.objects.get(sequence=5).hash)
    assert checking.read_anchor().count == 5


@pytest.mark.parametrize("statement", [
    "DELETE FROM audit_entry WHERE sequence = 3",
    "UPDATE audit_entry SET actor_name = 'ben' WHERE sequence = 3",
    "UPDATE audit_entry SET sequence = 30 WHERE sequence = 3",
])  # fmt: skip
def test_the_database_itself_refuses_to_change_or_delete_a_line(chained: list[Entry], statement: str) -> None:
    with (
        pytest.raises(DatabaseError, match="never changed"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert checking.verify().is_whole


def test_no_code_of_ours_can_either(chained: list[Entry]) -> None:
    line = chained[2]
    line.actor_name = "ben"
    for act in (
        line.save,
        line.delete,
        Entry.objects.all().delete,
        lambda: Entry.objects.update(actor_name="ben"),
    ):
        with pytest.raises(TypeError, match="never"):
            act()


@pytest.mark.parametrize(("statement", "words"), [
    ("DELETE FROM audit_entry WHERE sequence = 3", "Line 3 is missing"),
    ("DELETE FROM audit_entry WHERE sequence = 1", "Line 1 is missing"),
    ("DELETE FROM audit_entry WHERE sequence > 3", "there were 5, and there are 3"),
    ("DELETE FROM audit_entry", "there were 5, and there are 0"),
    ("UPDATE audit_entry SET actor_name = 'ben' WHERE sequence = 4", "Line 4 is not as it was written"),
    ("UPDATE audit_entry SET details_json = '{\"x\":1}' WHERE sequence = 5", "Line 5 is not as it was written"),
    ("UPDATE audit_entry SET previous = '' WHERE sequence = 2", "Line 2 does not follow line 1"),
    ("UPDATE audit_head SET count = 3", "not written by this site"),
    ("DELETE FROM audit_head", "not written by this site"),
])  # fmt: skip
def test_what_somebody_did_in_the_database_shows(chained: list[Entry], statement: str, words: str) -> None:
    by_hand(statement)
    assert words in checking.verify().problem
    with pytest.raises(CommandError, match=words):
        call_command("verify_audit")


def test_whoever_knows_how_but_not_the_key_cannot_make_the_chain_fit(
    chained: list[Entry], settings: Any
) -> None:
    """Line 5 is taken out and the head set back, sealed with another key, as somebody would who has the code."""
    key, settings.SECRET_KEY = settings.SECRET_KEY, "a guess"
    seal = chain.seal_of(4, chained[3].hash)
    settings.SECRET_KEY = key
    last = Entry.objects.get(sequence=4).hash
    by_hand(
        "DELETE FROM audit_entry WHERE sequence = 5",
        f"UPDATE audit_head SET count = 4, hash = '{last}', seal = '{seal}'",  # noqa: S608
    )
    assert "not written by this site" in checking.verify().problem
    record(Action.IMAGE_ADDED)  # and the site does not put its own seal on that
    chain.extend()
    assert "is not this site's" in checking.verify().problem


def test_lines_that_were_removed_show_though_others_came_after(chained: list[Entry], ann: User) -> None:
    by_hand("DELETE FROM audit_entry WHERE sequence > 3")
    record(Action.IMAGE_ADDED, by=ann)
    chain.extend()
    assert only(Action.LOG_BROKEN, Result.FAILED).sequence is not None
    assert not checking.verify().is_whole
    record(Action.IMAGE_ADDED, by=ann)
    chain.extend()
    assert not checking.verify().is_whole
    assert len(lines(Action.LOG_BROKEN)) == 1


def test_an_older_database_that_was_put_back_shows_until_somebody_answers_for_it(
    chained: list[Entry], ann: User
) -> None:
    head = Head.objects.get()
    older = (head.count, head.hash, head.seal)
    record(Action.IMAGE_ADDED, by=ann)
    assert checking.check().count == 6
    by_hand(
        "DELETE FROM audit_entry WHERE sequence > 5",
        "UPDATE audit_head SET count = {}, hash = '{}', seal = '{}'".format(*older),  # noqa: S608
    )
    assert "an older database was put back" in checking.check().problem
    record(Action.IMAGE_ADDED, by=ann)  # the same place, another line
    assert "Line 6 is another one" in checking.check().problem
    out = io.StringIO()
    call_command("verify_audit", begin_anew="restored the backup of Monday", stdout=out)
    assert "All 7 lines" in out.getvalue()
    assert only(Action.LOG_BEGUN_ANEW).details["reason"] == "restored the backup of Monday"


def test_administrators_are_told_once_of_what_a_check_found(chained: list[Entry], boss: User) -> None:
    by_hand("DELETE FROM audit_entry WHERE sequence = 3")
    checking.check_and_tell()
    checking.check_and_tell()
    (notice,) = Notice.objects.filter(kind="log_broken")
    assert (notice.person, "Line 3 is missing" in notice.text) == (boss, True)


@pytest.mark.django_db(transaction=True)
def test_twenty_writers_at_once_give_one_unbroken_chain() -> None:
    gate = threading.Barrier(20)

    def write(number: int) -> None:
        try:
            gate.wait(30)
            for each in range(5):
                with transaction.atomic():
                    record(Action.IMAGE_ADDED, about=(ObjectKind.IMAGE, f"{number}.{each}", ""))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(write, range(20)))
    chain.extend()
    found = checking.verify()
    assert (found.is_whole, found.count) == (True, 100)
    assert len(set(Entry.objects.values_list("hash", flat=True))) == 100


# The pages


def test_a_machines_page_says_who_did_what_and_where_from_to_auditors_alone(
    running: Machine, ann: User, boss: User
) -> None:
    browser_of(ann).post(f"/machines/{running.pk}/force-off/")
    address = f"/machines/{running.pk}/activity/"
    hers, theirs = (signed_in(user).get(address).content.decode() for user in (ann, boss))
    assert "Force off" in hers
    assert "ann" in hers
    assert HERE not in hers
    assert HERE in theirs


def test_a_person_sees_their_own_activity_and_nobody_elses(ann: User, ben: User, boss: User) -> None:
    ben.audits = True
    ben.save()
    record(Action.IMAGE_ADDED, by=ann, about=(ObjectKind.IMAGE, 1, "my disc"))
    record(Action.IMAGE_ADDED, by=boss, about=(ObjectKind.IMAGE, 2, "another disc"))
    page = signed_in(ann).get("/activity/mine/").content.decode()
    assert "my disc" in page
    assert "another disc" not in page
    assert signed_in(ann).get(f"/activity/people/{boss.pk}/").status_code == 404
    assert "my disc" in signed_in(ben).get(f"/activity/people/{ann.pk}/").content.decode()
    assert signed_in(ann).get("/activity/").status_code == 404
    assert signed_in(ben).get("/activity/").status_code == 200


@pytest.mark.parametrize(("query", "found"), [
    ("who=ann", {"one", "two"}), ("who=boss", {"three"}), ("action=image_added", {"one", "three"}), ("what=wo", {"two"}),
    ("kind=network", {"two"}), ("result=failed", {"three"}), ("from=2026-01-02&to=2026-01-02", {"two"}),
    ("from=nonsense&kind=nonsense&page=x", {"one", "two", "three"}), ("who=%00&what=%27%20OR%201", set()),
])  # fmt: skip
def test_the_sites_activity_is_filtered(ann: User, boss: User, query: str, found: set[str]) -> None:
    def line(
        day: int, by: User, action: Action, kind: ObjectKind, name: str, result: Result = Result.DONE
    ) -> None:
        entry = Entry(
            at=f"2026-01-0{day}T12:00:00Z", actor_id=by.pk, actor_name=by.username, action=action, object_kind=kind,
            object_id=name, object_name=f"thing {name}", result=result,
        )  # fmt: skip
        entry.save()

    line(1, ann, Action.IMAGE_ADDED, ObjectKind.IMAGE, "one")
    line(2, ann, Action.NETWORK_MADE, ObjectKind.NETWORK, "two")
    line(3, boss, Action.IMAGE_ADDED, ObjectKind.IMAGE, "three", Result.FAILED)
    page = signed_in(boss).get(f"/activity/?{query}").content.decode()
    assert {name for name in ("one", "two", "three") if f"thing {name}" in page} == found


def exported(user: User, query: str) -> str:
    answer: Any = browser_of(user).get(f"/activity/?{query}")
    assert answer.status_code == 200
    return b"".join(answer.streaming_content).decode()


def test_the_export_is_csv_in_which_no_cell_is_a_formula(boss: User) -> None:
    for name in ("=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\tx", 'plain, "quoted"'):
        record(Action.IMAGE_ADDED, by=boss, about=(ObjectKind.IMAGE, "1", name))
    chain.extend()
    rows = list(csv.DictReader(io.StringIO(exported(boss, "action=image_added&format=csv"))))
    names = [row["object_name"] for row in rows]
    assert names == ['plain, "quoted"', "'\tx", "'@SUM(A1)", "'-1", "'+1", "'=cmd|' /C calc'!A0"]
    assert not any(cell[:1] in "=+-@\t" for row in rows for cell in row.values() if cell)
    assert only(Action.LOG_EXPORTED).actor_name == "boss"


def test_the_export_is_json_lines_with_the_chain_in_them(chained: list[Entry], boss: User) -> None:
    rows = [json.loads(line) for line in exported(boss, "format=json&what=disc").splitlines()]
    assert [row["sequence"] for row in rows] == [5, 4, 3, 2, 1]
    assert rows[0]["previous"] == rows[1]["hash"]
    assert rows[0]["details"] == {}


def test_who_is_no_auditor_exports_their_own_lines_alone(ann: User, boss: User) -> None:
    record(Action.IMPERSONATION_BEGUN, by=boss, about=of_person(ann))
    answer: Any = browser_of(ann).get("/activity/mine/?format=json")
    rows = [json.loads(line) for line in b"".join(answer.streaming_content).decode().splitlines()]
    assert {row["actor_name"] for row in rows} == {"ann"}


def test_a_check_is_a_button_that_says_what_it_found(chained: list[Entry], boss: User) -> None:
    browser = browser_of(boss)
    chain.extend()
    assert (
        "lines are there, and as they were written"
        in browser.post("/activity/check/", follow=True).content.decode()
    )
    by_hand("DELETE FROM audit_entry WHERE sequence = 2")
    page = browser.post("/activity/check/", follow=True).content.decode()
    assert "The last check found that lines are gone or were changed" in page
    assert "Line 2 is missing" in page
    assert only(Action.LOG_CHECKED, Result.FAILED).actor_name == "boss"


def test_names_that_are_code_are_words_on_the_page(rack: Host, boss: User) -> None:
    record(
        Action.IMAGE_ADDED,
        by=boss,
        about=(ObjectKind.IMAGE, "1", "<script>alert(1)</script>"),
        details={"<b>": "<i>"},
    )
    page = signed_in(boss).get("/activity/").content.decode()
    assert "<script>alert" not in page
    assert "<b>" not in page


def test_the_link_of_a_machine_that_is_gone_is_none(running: Machine, boss: User) -> None:
    record(Action.MACHINE_ENDED, about=of_machine(running))
    record(Action.MACHINE_ENDED, about=(ObjectKind.MACHINE, nobody(), "gone"))
    page = signed_in(boss).get("/activity/").content.decode()
    assert f'href="/machines/{running.pk}/"' in page
    assert ">gone</a>" not in page
