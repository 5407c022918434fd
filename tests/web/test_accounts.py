"""How people come in: by an invitation, by registering, by a link for a new password; and what an administrator does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone

from portal.accounts.models import Invitation, User
from portal.notices.models import Letter
from portal.teams.models import Team
from tests.lab.mail import MailServer, link_in
from tests.web.people import PASSWORD, signed_in
from tests.web.test_security_headers import Inline, check_headers, sign_in

NEW = "a quite different secret 9"
CHOICE = {"username": "eve", "password1": NEW, "password2": NEW}


@pytest.fixture
def mail(settings: LazySettings) -> Iterator[MailServer]:
    """A real mail server, which the site knows."""
    with closing(MailServer()) as server:
        server.serve(settings)
        yield server


def words(answer: Any) -> str:
    return unescape(answer.content.decode())


def path_of(link: str) -> str:
    found = re.fullmatch(r"http://127\.0\.0\.1:8000(/\S+)", link)
    assert found, link
    return found[1]


def link_of(answer: Any) -> str:
    found = re.search(r'id="link">([^<]+)<', words(answer))
    assert found, words(answer)
    return path_of(found[1])


def invited(boss: User, **form: str) -> str:
    """The path of the link that an invitation's page shows."""
    return link_of(signed_in(boss).post("/people/invite/", {"email": "eve@example.org"} | form))


def is_in(browser: Client) -> bool:
    return browser.get("/machines/").status_code == 200


# --- invitations


def test_who_is_invited_chooses_name_and_password_and_is_in_with_role_and_team(boss: User) -> None:
    team = Team.objects.create(name="kernel")
    link = invited(boss, name="eve", approver="on", team=str(team.pk), team_role="viewer")
    browser = Client()
    page = browser.get(link)
    assert 'value="eve"' in words(page)
    assert "team kernel" in words(page)
    assert browser.post(link, CHOICE)["Location"] == "/machines/"
    assert is_in(browser)
    eve = User.objects.get(username="eve")
    assert (eve.email, eve.approves, eve.audits, eve.is_staff) == ("eve@example.org", True, False, False)
    assert eve.memberships.get().role == "viewer"
    assert sign_in(Client(), "eve", NEW).status_code == 302


def test_the_link_is_shown_once_and_what_is_stored_does_not_open(boss: User) -> None:
    token = invited(boss).split("/")[2]
    stored = Invitation.objects.get().token_hash
    assert token not in stored
    assert Client().get(f"/invitation/{stored}/").status_code == 410
    assert token not in words(signed_in(boss).get("/people/"))


@pytest.mark.parametrize("end", ["used", "expired", "withdrawn", "wrong"])
def test_a_link_that_is_good_no_longer_makes_no_account(boss: User, end: str) -> None:
    link = invited(boss)
    if end == "used":
        Client().post(link, CHOICE)
    elif end == "expired":
        Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    elif end == "withdrawn":
        signed_in(boss).post(f"/people/invitations/{Invitation.objects.get().pk}/withdraw/")
    else:
        link = link[:-2] + "x/"
    before = set(User.objects.values_list("username", flat=True))
    for answer in (Client().get(link), Client().post(link, CHOICE | {"username": "mallory"})):
        assert answer.status_code == 410
        assert "good no longer" in words(answer)
    assert set(User.objects.values_list("username", flat=True)) == before


def test_an_invitation_lasts_seven_days(boss: User) -> None:
    invited(boss)
    left = Invitation.objects.get().expires_at - timezone.now()
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"password1": "password1234", "password2": "password1234"}, "too common"),
        ({"password2": "another one of mine 8"}, "not the same"),
        ({"username": "ANN"}, "Somebody has this name already"),
        ({"username": "a b"}, "valid username"),
        ({"password1": "short", "password2": "short"}, "too short"),
    ],
)
def test_a_mistake_in_an_invitation_is_said_and_the_link_stays_good(
    boss: User, ann: User, form: dict[str, str], said: str
) -> None:
    link = invited(boss)
    answer = Client().post(link, CHOICE | form)
    assert answer.status_code == 422
    assert said in words(answer)
    assert Client().post(link, CHOICE).status_code == 302


def test_who_is_signed_in_already_makes_no_second_account_by_mistake(boss: User, ann: User) -> None:
    link, browser = invited(boss), signed_in(ann)
    assert "signed in already" in words(browser.post(link, CHOICE))
    assert not User.objects.filter(username="eve").exists()
    assert browser.post("/sign-out/", {"next": link})["Location"] == link


def test_who_has_an_account_is_not_invited_again(boss: User, ann: User) -> None:
    User.objects.filter(pk=ann.pk).update(email="Ann@Example.org")
    answer = signed_in(boss).post("/people/invite/", {"email": "ann@example.org"})
    assert answer.status_code == 422
    assert "Nobody was invited" in words(answer)
    assert not Invitation.objects.exists()


def test_an_invitation_comes_by_mail_where_there_is_a_mail_server(boss: User, mail: MailServer) -> None:
    link = invited(boss)
    letter = mail.letter_to("eve@example.org")
    assert "boss invites you" in letter.get_content()
    assert path_of(link_in(letter)) == link


def test_a_mail_server_that_is_away_delays_nobody(boss: User, mail: MailServer) -> None:
    mail.close()
    assert Client().get(invited(boss)).status_code == 200


# --- registration

REGISTER = CHOICE | {"email": "eve@example.org"}


def opened(boss: User, is_on: str = "yes") -> None:
    signed_in(boss).post("/people/registration/", {"is_on": is_on})


def test_nobody_registers_unless_an_administrator_switched_it_on(boss: User) -> None:
    def tried() -> bool:
        answer = Client().post("/register/", REGISTER)
        return (
            "Nobody can register here now" not in words(answer)
            or User.objects.filter(username="eve").exists()
        )

    assert not tried()
    assert "/register/" not in words(Client().get("/sign-in/"))
    opened(boss)
    assert "/register/" in words(Client().get("/sign-in/"))
    opened(boss, "no")
    assert not tried()


def test_who_registers_waits_until_an_administrator_lets_them_in(boss: User, mail: MailServer) -> None:
    User.objects.filter(pk=boss.pk).update(email="boss@example.org")
    opened(boss)
    browser = Client()
    answer = browser.post("/register/", REGISTER, follow=True)
    assert "An administrator lets you in" in words(answer)
    assert not is_in(browser)
    assert "An administrator lets you in" in words(
        browser.post("/sign-in/", {"login": "eve", "password": NEW}, follow=True)
    )
    assert not is_in(browser)
    assert "An administrator lets you in" not in words(sign_in(Client(), "eve", "wrong"))
    letter = Letter.objects.get()  # how letters are sent stands in test_notices
    assert ("eve" in letter.body, letter.to) == (True, "boss@example.org")
    eve = User.objects.get(username="eve")
    page = signed_in(boss).get("/people/")
    assert f"/people/{eve.pk}/approve/" in words(page)
    signed_in(boss).post(f"/people/{eve.pk}/approve/")
    assert "is open now" in mail.letter_to("eve@example.org").get_content()
    sign_in(browser, "eve", NEW)
    assert is_in(browser)


def test_who_is_declined_is_told_and_nothing_of_them_is_kept(boss: User, mail: MailServer) -> None:
    opened(boss)
    Client().post("/register/", REGISTER)
    eve = User.objects.get(username="eve")
    signed_in(boss).post(f"/people/{eve.pk}/decline/")
    assert "did not let eve in" in mail.letter_to("eve@example.org").get_content()
    assert not User.objects.filter(username="eve").exists()
    assert not EmailAddress.objects.filter(email="eve@example.org").exists()
    assert signed_in(boss).post(f"/people/{eve.pk}/approve/").status_code == 404


def test_who_is_in_already_is_not_declined(boss: User, ann: User) -> None:
    answer = signed_in(boss).post(f"/people/{ann.pk}/decline/", follow=True)
    assert "decided that already" in words(answer)
    assert User.objects.filter(pk=ann.pk, is_active=True).exists()


def test_registering_does_not_tell_whether_an_address_has_an_account(boss: User, ann: User) -> None:
    User.objects.filter(pk=ann.pk).update(email="ann@example.org")
    opened(boss)
    known = Client().post("/register/", REGISTER | {"email": "ann@example.org"})
    fresh = Client().post("/register/", REGISTER | {"username": "eva"})
    assert (
        (known.status_code, known["Location"])
        == (fresh.status_code, fresh["Location"])
        == (302, "/sign-in/waiting/")
    )


def test_when_too_many_wait_nobody_more_is_taken(boss: User, monkeypatch: pytest.MonkeyPatch) -> None:
    from portal.accounts import registration

    monkeypatch.setattr(registration, "MOST_WAITING", 1)
    opened(boss)
    Client().post("/register/", REGISTER)
    Client().post("/register/", REGISTER | {"username": "eva"})
    assert User.objects.filter(awaits_approval=True).count() == 1


# --- a password that was forgotten


def test_a_forgotten_password_is_chosen_anew_by_a_link_that_works_once(ann: User, mail: MailServer) -> None:
    User.objects.filter(pk=ann.pk).update(email="ann@example.org")
    elsewhere = Client()
    sign_in(elsewhere, "ann", PASSWORD)
    User.objects.filter(pk=ann.pk).update(email="ann@example.org")
    Client().post("/password/forgotten/", {"email": "Ann@example.org"})
    link = path_of(link_in(mail.letter_to("ann@example.org")))
    browser = Client()
    first = browser.get(link)
    assert first.status_code == 200
    assert set(browser.cookies) == {"csrftoken"}  # who comes from a letter has no session, and needs none
    assert "too short" in words(browser.post(link, {"password1": "short", "password2": "short"}))
    assert browser.post(link, {"password1": NEW, "password2": NEW})["Location"] == "/sign-in/"
    assert not is_in(browser)  # the link alone is no second factor
    assert not is_in(elsewhere)
    assert sign_in(Client(), "ann", PASSWORD).status_code == 200
    assert sign_in(browser, "ann", NEW).status_code == 302
    assert "good no longer" in words(Client().get(link, follow=True))
    assert "chosen anew" in mail.letter_to("ann@example.org", number=2).get_content()


def test_a_link_opens_the_door_that_wrong_passwords_closed(ann: User, boss: User) -> None:
    for attempt in range(5):
        sign_in(Client(), "ann", f"wrong {attempt}")
    assert sign_in(Client(), "ann", PASSWORD).status_code == 429
    link = link_of(signed_in(boss).post(f"/people/{ann.pk}/password-link/"))
    browser = Client()
    browser.post(link, {"password1": NEW, "password2": NEW})
    assert sign_in(browser, "ann", NEW).status_code == 302


def test_nobody_learns_whether_an_address_has_an_account(ann: User, mail: MailServer) -> None:
    User.objects.filter(pk=ann.pk).update(email="ann@example.org")
    answers = [
        Client().post("/password/forgotten/", {"email": address}, follow=True)
        for address in ("nobody@example.org", "ann@example.org")
    ]
    assert words(answers[0]) == words(answers[1])
    assert "If this address belongs to an account" in words(answers[0])
    mail.letter_to("ann@example.org")
    assert [letter["To"] for letter in mail.letters] == ["ann@example.org"]


def test_a_link_is_at_the_sites_own_address_whatever_a_request_claims(
    ann: User, mail: MailServer, settings: LazySettings
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    User.objects.filter(pk=ann.pk).update(email="ann@example.org")
    Client(headers={"host": "evil.example"}).post("/password/forgotten/", {"email": "ann@example.org"})
    assert link_in(mail.letter_to("ann@example.org")).startswith("http://127.0.0.1:8000/password/new/")


def test_without_a_mail_server_the_page_says_whom_to_ask(db: None) -> None:
    page = words(Client().get("/password/forgotten/"))
    assert "Ask an administrator" in page
    assert 'name="email"' not in page


# --- one's own mail address


def confirmed(browser: Client) -> Client:
    """The person typed the password once more."""
    browser.post("/account/again/", {"password": PASSWORD})
    return browser


def test_another_mail_address_counts_when_it_is_confirmed(ann: User, mail: MailServer) -> None:
    User.objects.filter(pk=ann.pk).update(email="old@example.org")
    form = {"email": "new@example.org", "action_add": "yes"}
    browser = signed_in(ann)
    assert browser.post("/account/mail/", form)["Location"].startswith("/account/again/")
    confirmed(browser).post("/account/mail/", form)
    ann.refresh_from_db()
    assert ann.email == "old@example.org"
    link = path_of(link_in(mail.letter_to("new@example.org")))
    browser.get(link)
    ann.refresh_from_db()
    assert ann.email == "old@example.org"  # some mail programs follow links by themselves
    browser.post(link)
    ann.refresh_from_db()
    assert ann.email == "new@example.org"
    assert "does no longer" in mail.letter_to("old@example.org").get_content()


def test_without_a_mail_server_an_address_is_taken_as_it_is_typed(ann: User) -> None:
    confirmed(browser := signed_in(ann)).post(
        "/account/mail/", {"email": "new@example.org", "action_add": "yes"}
    )
    ann.refresh_from_db()
    assert ann.email == "new@example.org"
    assert "new@example.org" in words(browser.get("/account/"))


# --- what an administrator does


def test_the_last_administrator_stays_one(boss: User, ann: User) -> None:
    browser = signed_in(boss)
    for path, form in (("roles", {"auditor": "on"}), ("switch-off", {})):
        answer = browser.post(f"/people/{boss.pk}/{path}/", form, follow=True)
        assert "the last administrator" in words(answer)
    boss.refresh_from_db()
    assert (boss.is_administrator, boss.audits) == (True, False)
    browser.post(f"/people/{ann.pk}/roles/", {"administrator": "on"})
    assert User.objects.get(pk=ann.pk).is_administrator
    browser.post(f"/people/{boss.pk}/roles/", {"approver": "on"})
    boss.refresh_from_db()
    assert (boss.is_staff, boss.is_superuser, boss.approves) == (False, False, True)


def test_an_administrator_who_is_switched_off_does_not_count(boss: User, ann: User) -> None:
    User.objects.filter(pk=ann.pk).update(is_staff=True, is_active=False)
    signed_in(boss).post(f"/people/{boss.pk}/switch-off/")
    assert User.objects.get(pk=boss.pk).is_active


def test_an_account_that_is_switched_off_opens_nothing_until_it_is_switched_on(boss: User, ann: User) -> None:
    browser = Client()
    sign_in(browser, "ann", PASSWORD)
    signed_in(boss).post(f"/people/{ann.pk}/switch-off/")
    assert not is_in(browser)
    answer = browser.post("/sign-in/", {"login": "ann", "password": PASSWORD}, follow=True)
    assert "An administrator has switched it off" in words(answer)
    assert not is_in(browser)
    assert "switch it on first" in words(
        signed_in(boss).post(f"/people/{ann.pk}/password-link/", follow=True)
    )
    signed_in(boss).post(f"/people/{ann.pk}/switch-on/")
    sign_in(browser, "ann", PASSWORD)
    assert is_in(browser)


def test_people_are_found_by_name_and_address(boss: User, ann: User, ben: User) -> None:
    User.objects.filter(pk=ben.pk).update(email="b@kernel.example")
    page = words(signed_in(boss).get("/people/?q=kernel"))
    assert f"/people/{ben.pk}/" in page
    assert f"/people/{ann.pk}/" not in page
    assert signed_in(boss).get("/people/?q=%00&page=x").status_code == 200


# --- all of it


def test_pages_of_accounts_are_as_strict_as_all_others(boss: User, settings: LazySettings) -> None:
    settings.PASSKEY_HOST = "testserver"
    link = invited(boss, name="<script>alert(1)</script>")
    opened(boss)
    browser = confirmed(signed_in(boss))
    addresses = (
        "/account/", "/account/mail/", "/account/password/", "/account/second-factor/", "/account/second-factor/app/",
        "/account/second-factor/passkeys/add/", "/account/sessions/", "/account/again/", "/people/", "/people/invite/",
        f"/people/{boss.pk}/",
    )  # fmt: skip
    outside = (
        "/sign-in/",
        "/register/",
        "/password/forgotten/",
        "/password/forgotten/sent/",
        link,
        "/sign-in/waiting/",
    )
    for visitor, paths in ((browser, addresses), (Client(), outside)):
        for path in paths:
            answer = visitor.get(path)
            assert answer.status_code == 200, path
            assert Inline(answer.content.decode()).found == [], path
            check_headers(answer)


def test_an_auditor_reads_the_people_and_has_no_button(ann: User, boss: User) -> None:
    User.objects.create_user("waiting", email="w@example.org", is_active=False)
    invited(boss)
    User.objects.create_user("amy", approves=True)
    otto = User.objects.create_user("otto", audits=True)
    browser = signed_in(otto)
    assert '<a href="/people/"' in words(browser.get("/machines/"))
    assert '<a href="/people/"' not in words(signed_in(ann).get("/machines/"))
    everybody = words(browser.get("/people/"))
    one = words(browser.get(f"/people/{User.objects.get(username='amy').pk}/"))
    assert "eve@example.org" in everybody
    assert "Approver" in one
    for page in (everybody, one):
        assert not re.findall(r'action="(/people/[^"]*)"', page)
        assert "/people/invite/" not in page
    for path in ("switch-off", "roles", "sign-out", "second-factor", "password-link"):
        assert browser.post(f"/people/{ann.pk}/{path}/").status_code == 403
    assert browser.post("/people/registration/", {"is_on": "yes"}).status_code == 403
    assert browser.get("/people/invite/").status_code == 403
    assert signed_in(ann).get("/people/").status_code == 404
