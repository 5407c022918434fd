"""What people are told, where they want it, and that a mail server which is away loses none of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.db import transaction
from django.utils import timezone

from portal.accounts.models import User
from portal.audit.actions import Result
from portal.images import downloads
from portal.images.models import Download
from portal.machines import services
from portal.machines.models import Machine
from portal.machines.reports import observed_take, progress_take
from portal.notices import post
from portal.notices.kinds import KINDS, Way
from portal.notices.models import Choice, Letter, Notice
from portal.notices.services import administrators, choices_set, clear_old, notices_read, tell
from portal.teams.models import Membership, Role, Team
from tests.lab.mail import MailServer
from tests.web.people import newest, seen, signed_in, told
from tests.web.site import Browser
from workers.contract.messages import EndReason, Observed, OperationState, PauseReason

GAPS = dict.fromkeys(
    ("whose", "class", "day",
     "machine", "host", "what", "why", "name", "who", "decision", "when", "then", "since", "reason", "hook", "times", "found"),
    "something",
)  # fmt: skip


@pytest.fixture
def ann(ann: User) -> User:
    ann.email = "ann@example.org"
    ann.save()
    return ann


@pytest.fixture
def post_office(settings: LazySettings) -> Iterator[MailServer]:
    settings.ORIGIN = "https://machines.example.org"
    with closing(MailServer()) as server:
        server.serve(settings)
        yield server


def kinds_of(person: User) -> list[str]:
    return list(Notice.objects.filter(person=person).order_by("id").values_list("kind", flat=True))


def due_now() -> None:
    Letter.objects.update(next_at=timezone.now() - timedelta(seconds=1))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_a_whole_sentence(ann: User, kind: str) -> None:
    tell([ann], kind, **GAPS)
    assert "%" not in Notice.objects.get().text


def test_of_a_teams_machine_everybody_hears_who_may_operate_it_each_as_they_chose(
    running: Machine, ann: User, ben: User
) -> None:
    team = Team.objects.create(name="lab")
    carl, dora = User.objects.create_user("carl"), User.objects.create_user("dora")
    for person, role in ((ben, Role.OWNER), (carl, Role.MEMBER), (dora, Role.VIEWER)):
        Membership.objects.create(team=team, user=person, role=role)
    Machine.objects.filter(pk=running.pk).update(team=team)
    choices_set(person=carl, ways={"machine_crashed": Way.NONE})
    observed_take(seen(running, Observed.OFF, reason=EndReason.CRASH))
    assert [kinds_of(each) for each in (ann, ben, carl, dora)] == [[], ["machine_crashed"], [], []]
    running.refresh_from_db()
    services.machine_start(machine=running, by=ben)
    progress_take(told(newest(running), OperationState.FAILED))
    assert [kinds_of(each)[-1:] for each in (ben, carl)] == [["operation_failed"], ["operation_failed"]]
    assert (kinds_of(ann), kinds_of(dora)) == ([], [])  # she made it, and is not in the team


@pytest.mark.parametrize(("report", "kind"), [
    ({"power": Observed.OFF, "reason": EndReason.GUEST}, "machine_ended"),
    ({"power": Observed.OFF, "reason": EndReason.CRASH}, "machine_crashed"),
    ({"power": Observed.OFF, "reason": EndReason.UNSEEN}, "machine_crashed"),
    ({"power": Observed.PAUSED, "paused_for": PauseReason.IO_ERROR}, "disk_failed"),
    ({"power": Observed.PAUSED, "paused_for": PauseReason.NO_SPACE}, "host_disk_full"),
    ({"power": Observed.PAUSED, "paused_for": PauseReason.PANIC}, "machine_panicked"),
    ({"power": Observed.OFF, "reason": EndReason.PERSON}, None),
    ({"power": Observed.PAUSED, "paused_for": PauseReason.PERSON}, None),
    ({"power": Observed.OFF, "reason": EndReason.HOST}, None),
])  # fmt: skip
def test_an_owner_hears_once_of_what_happened_to_a_machine_unasked(
    running: Machine, ann: User, report: dict[str, object], kind: str | None
) -> None:
    for _twice in range(2):
        observed_take(seen(running, **report))  # type: ignore[arg-type]  # each a field of it
    assert kinds_of(ann) == ([kind] if kind else [])
    if kind:
        assert Notice.objects.get().link == f"/machines/{running.pk}/"


def test_who_asked_for_what_failed_hears_of_it_and_why(running: Machine, boss: User, ann: User) -> None:
    services.machine_restart(machine=running, by=boss)
    progress_take(told(newest(running), OperationState.FAILED))
    assert (kinds_of(boss), kinds_of(ann)) == (["operation_failed"], [])
    assert "Restart of “web” failed. The machine could not be started." in Notice.objects.get().text


def test_the_end_of_a_download_is_told(ann: User) -> None:
    for state in ("download_done", "download_failed"):
        download = Download.objects.create(key="x", name="Debian", requested_by=ann, state="running")
        if state == "download_failed":
            downloads._end(download, "the server is gone")
        else:
            downloads._over(download, Result.DONE, state)
        download.delete()
    assert kinds_of(ann) == ["download_done", "download_failed"]


def test_nobody_hears_of_what_was_taken_back(ann: User) -> None:
    with transaction.atomic():
        tell([ann], "machine_ended", machine="web")
        transaction.set_rollback(True)
    assert not Notice.objects.exists()


def test_each_person_chooses_for_each_kind_page_mail_or_nothing(
    ann: User, ben: User, post_office: MailServer
) -> None:
    ben.email = "ben@example.org"
    ben.save()
    browser = signed_in(ann)
    ways = {
        "machine_ended": "mail",
        "machine_crashed": "none",
        "impersonated": "none",
        "download_done": "nonsense",
    }
    assert browser.post("/notices/choices/", ways).status_code == 302
    for kind in ("machine_ended", "machine_crashed", "impersonated", "download_done"):
        tell([ann, ben], kind, **GAPS)
    assert kinds_of(ann) == [
        "machine_ended",
        "impersonated",
        "download_done",
    ]  # it is always told on the page
    assert kinds_of(ben) == ["machine_ended", "machine_crashed", "impersonated", "download_done"]
    post.send_waiting()
    assert [mail["To"] for mail in post_office.letters] == [
        "ann@example.org",
        "ben@example.org",
        "ben@example.org",
    ]


def test_nobody_chooses_a_kind_that_is_not_for_them(ann: User) -> None:
    choices_set(person=ann, ways={"account_waits": Way.MAIL, "nonsense": Way.MAIL})
    assert not Choice.objects.exists()


def test_a_mail_is_plain_and_leads_to_the_site(ann: User, post_office: MailServer) -> None:
    tell([ann], "machine_crashed", link="/machines/1/", machine="x\r\nBcc: all@example.org\r\n\r\n<b>")
    assert post.send_waiting() == 1
    (mail,) = post_office.letters
    assert mail.get_content_type() == "text/plain"
    assert (mail["To"], mail["Bcc"]) == ("ann@example.org", None)
    text = mail.get_content()
    assert "https://machines.example.org/machines/1/" in text
    assert "https://machines.example.org/notices/choices/" in text
    assert post.send_waiting() == 0
    assert len(post_office.letters) == 1


def test_a_mail_server_that_is_away_loses_nothing(ann: User, settings: LazySettings) -> None:
    gone = MailServer()
    gone.serve(settings)
    gone.close()
    for number in range(3):
        tell([ann], "machine_crashed", machine=f"box {number}")
    assert post.send_waiting() == 0
    Letter.objects.update(written_at=timezone.now() - timedelta(days=20))  # however long that takes
    for _day in range(3):
        due_now()
        assert post.send_waiting() == 0
    assert "Refused" in Letter.objects.all()[0].problem
    with closing(MailServer(gone.port)) as server:
        assert post.send_waiting() == 0  # not at once again
        due_now()
        assert post.send_waiting() == 3
        assert [f"box {n}" in mail["Subject"] for n, mail in enumerate(server.letters)] == [True] * 3


def test_a_server_that_says_later_gets_it_later_and_one_that_says_never_does_not(
    ann: User, post_office: MailServer
) -> None:
    tell([ann], "machine_crashed", machine="web")
    post_office.refusals[:] = ["451 greylisted"]
    assert post.send_waiting() == 0
    letter = Letter.objects.get()
    assert (letter.tries, letter.given_up_at) == (1, None)
    assert letter.next_at > timezone.now() + timedelta(seconds=20)
    due_now()
    assert post.send_waiting() == 1
    tell([ann], "machine_crashed", machine="web")
    post_office.refusals[:] = ["550 no such person"]
    post.send_waiting()
    assert Letter.objects.last().given_up_at is not None  # type: ignore[union-attr]
    due_now()
    assert post.send_waiting() == 0


def test_without_a_mail_server_or_an_address_the_page_has_it_alone(
    ann: User, ben: User, settings: LazySettings
) -> None:
    tell([ann], "machine_crashed", machine="web")
    settings.HAS_MAIL = True
    tell([ben], "machine_crashed", machine="web")
    assert (Notice.objects.count(), Letter.objects.count()) == (2, 0)


def test_the_bell_counts_what_is_unread_and_the_page_marks_it(ann: User, ben: User) -> None:
    for name in ("one", "two"):
        tell([ann], "machine_ended", link="/discs/", machine=name)
    browser = signed_in(ann)
    assert ">2<" in browser.get("/machines/").content.decode()
    page = browser.get("/notices/").content.decode()
    assert page.index("“two”") < page.index("“one”")
    first = Notice.objects.order_by("id")[0]
    assert signed_in(ben).post(f"/notices/{first.pk}/").status_code == 404
    assert browser.post(f"/notices/{first.pk}/")["Location"] == "/discs/"
    assert ">1<" in browser.get("/notices/bell/").content.decode()
    browser.post("/notices/read/")
    assert "badge bg-danger" not in browser.get("/machines/").content.decode()
    assert notices_read(person=ann) == 0


def test_a_notice_leads_to_no_other_site(ann: User) -> None:
    tell([ann], "machine_ended", link="//evil.example/", machine="web")
    assert signed_in(ann).post(f"/notices/{Notice.objects.get().pk}/")["Location"] == "/notices/"


def test_who_was_switched_off_is_told_nothing(ann: User, boss: User) -> None:
    boss.is_active = False
    boss.save()
    tell([boss, ann], "machine_ended", machine="web")
    assert administrators() == []
    assert kinds_of(boss) == []


def test_what_is_old_goes_but_not_what_still_waits(ann: User) -> None:
    old = timezone.now() - timedelta(days=100)
    Notice.objects.create(person=ann, kind="machine_ended", text="old", at=old)
    for sent in (old, None):
        Letter.objects.create(
            person=ann, to="a@example.org", subject="s", body="b", written_at=old, sent_at=sent
        )
    assert clear_old() == 2
    assert Letter.objects.get().sent_at is None


@pytest.mark.django_db(transaction=True)
def test_the_bell_rings_at_once_and_for_its_person_alone(browser: Browser, ann: User, boss: User) -> None:
    with browser.socket("/ws/live/") as opened:
        opened.send(json.dumps({"watch": ["notices"]}))
        assert json.loads(opened.recv(timeout=20)) == {"watching": True}
        with transaction.atomic():
            tell([boss], "machine_ended", machine="another")
        with transaction.atomic():
            tell([ann], "machine_ended", machine="web")
        assert json.loads(opened.recv(timeout=20)) == {"changed": ["notices"]}
        with pytest.raises(TimeoutError):
            opened.recv(timeout=0.5)
