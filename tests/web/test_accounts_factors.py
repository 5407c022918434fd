"""Second factors: an app that shows codes, recovery codes; what is asked, what is counted, what is kept."""

from __future__ import annotations

import re
import time
from html import unescape
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.conf import LazySettings
from django.test import Client

from portal.accounts.models import User
from tests.web.people import PASSWORD, signed_in
from tests.web.test_security_headers import sign_in

STEP = "/sign-in/second-step/"
APP = "/account/second-factor/app/"


def words(answer: Any) -> str:
    return unescape(answer.content.decode())


class Phone:
    """An app that shows codes, with a clock that can be put forward."""

    def __init__(self, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.secret = secret
        self._now = time.time()
        self._monkeypatch = monkeypatch

    def code(self) -> str:
        return str(format_hotp_value(hotp_value(self.secret, int(time.time()) // 30)))

    def later(self, seconds: int = 30) -> None:
        self._now += seconds
        now = self._now
        self._monkeypatch.setattr(time, "time", lambda: now)


def confirmed(user: User) -> Client:
    browser = signed_in(user)
    assert browser.post("/account/again/", {"password": PASSWORD}).status_code == 302
    return browser


@pytest.fixture
def phone(ann: User, monkeypatch: pytest.MonkeyPatch) -> Phone:
    """Ann's, set up."""
    browser = confirmed(ann)
    found = re.search(r'id="totp-secret">(\w+)<', words(browser.get(APP)))
    assert found
    phone = Phone(found[1], monkeypatch)
    phone.later(0)
    assert browser.post(APP, {"code": phone.code()})["Location"] == "/account/second-factor/codes/"
    phone.later()
    return phone


@pytest.fixture
def codes(ann: User, phone: Phone) -> list[str]:
    """Her recovery codes, as the page shows them once."""
    browser = confirmed(ann)
    shown = re.findall(r"\b\d{8}\b", words(browser.get("/account/second-factor/codes/")))
    assert len(shown) == 10
    assert re.findall(r"\b\d{8}\b", words(browser.get("/account/second-factor/codes/"))) == []
    return shown


def is_in(browser: Client) -> bool:
    return browser.get("/machines/").status_code == 200


def half_in() -> Client:
    """After the password."""
    browser = Client()
    assert sign_in(browser, "ann", PASSWORD)["Location"] == STEP
    return browser


def test_the_picture_for_the_app_says_what_the_words_beside_it_say(ann: User) -> None:
    page = words(confirmed(ann).get(APP))
    assert 'src="data:image/svg+xml;base64,' in page


def test_after_the_password_the_apps_code_opens_the_account_and_nothing_else_does(phone: Phone) -> None:
    browser = half_in()
    assert not is_in(browser)
    for wrong in ("000000" if phone.code() != "000000" else "000001", "", "a" * 400):
        answer = browser.post(STEP, {"code": wrong})
        assert answer.status_code == 200
        assert not is_in(browser)
    assert "This code is wrong" in words(browser.post(STEP, {"code": "123"}))
    assert browser.post(STEP, {"code": phone.code()})["Location"] == "/machines/"
    assert is_in(browser)


def test_the_page_that_was_asked_for_opens_after_the_second_step(phone: Phone) -> None:
    browser = Client()
    browser.post("/sign-in/?next=/discs/", {"login": "ann", "password": PASSWORD, "next": "/discs/"})
    assert browser.post(STEP, {"code": phone.code()})["Location"] == "/discs/"


def test_a_code_is_good_once(phone: Phone) -> None:
    code = phone.code()
    assert half_in().post(STEP, {"code": code}).status_code == 302
    again = half_in()
    again.post(STEP, {"code": code})
    assert not is_in(again)


def test_an_old_code_is_good_no_longer(phone: Phone) -> None:
    code = phone.code()
    phone.later(60)
    browser = half_in()
    browser.post(STEP, {"code": code})
    assert not is_in(browser)


def test_five_wrong_codes_close_the_second_step_whoever_goes_on_from_wherever(phone: Phone) -> None:
    for _attempt in range(5):
        half_in().post(STEP, {"code": "1"})
    browser = half_in()
    assert "wrong too often" in words(browser.post(STEP, {"code": phone.code()}, REMOTE_ADDR="10.0.0.9"))
    assert not is_in(browser)
    phone.later(16 * 60)
    browser = half_in()
    browser.post(STEP, {"code": phone.code()})
    assert is_in(browser)


def test_nobody_gets_to_the_second_step_without_the_password(phone: Phone) -> None:
    browser = Client()
    assert browser.post(STEP, {"code": phone.code()})["Location"] == "/sign-in/"
    sign_in(browser, "ann", "wrong")
    assert browser.post(STEP, {"code": phone.code()})["Location"] == "/sign-in/"


def test_who_stops_at_the_second_step_may_begin_as_somebody_else(phone: Phone, ben: User) -> None:
    browser = half_in()
    assert browser.get("/sign-in/")["Location"].startswith(STEP)
    browser.post("/sign-out/")
    sign_in(browser, "ben", PASSWORD)
    assert words(browser.get("/account/")).count("ben") >= 1


def test_a_recovery_code_opens_the_account_once(codes: list[str]) -> None:
    browser = half_in()
    browser.post(STEP, {"code": codes[0]})
    assert is_in(browser)
    again = half_in()
    again.post(STEP, {"code": codes[0]})
    assert not is_in(again)
    again.post(STEP, {"code": codes[1]})
    assert is_in(again)


def test_new_recovery_codes_end_the_old_ones(ann: User, codes: list[str]) -> None:
    browser = confirmed(ann)
    browser.post("/account/second-factor/codes/new/")
    fresh = re.findall(r"\b\d{8}\b", words(browser.get("/account/second-factor/codes/")))
    assert set(fresh).isdisjoint(codes)
    other = half_in()
    other.post(STEP, {"code": codes[0]})
    assert not is_in(other)


def test_secrets_of_second_factors_are_not_readable_in_the_database(phone: Phone, codes: list[str]) -> None:
    stored = str(list(Authenticator.objects.values_list("data", flat=True)))
    assert phone.secret not in stored
    assert not any(code in stored for code in codes)


def test_a_second_factor_is_not_changed_without_the_password_once_more(ann: User, phone: Phone) -> None:
    browser = signed_in(ann)
    for path in ("/account/second-factor/app/remove/", "/account/second-factor/codes/new/"):
        assert browser.post(path)["Location"].startswith("/account/again/")
    assert "not your password" in words(browser.post("/account/again/", {"password": "wrong"}))
    assert browser.post("/account/second-factor/app/remove/").status_code == 302
    assert Authenticator.objects.filter(user=ann).count() == 2


def test_a_removed_app_leaves_the_password_alone_and_takes_the_recovery_codes_with_it(
    ann: User, codes: list[str]
) -> None:
    confirmed(ann).post("/account/second-factor/app/remove/")
    assert not Authenticator.objects.filter(user=ann).exists()
    browser = Client()
    sign_in(browser, "ann", PASSWORD)
    assert is_in(browser)


def test_who_lost_phone_and_codes_is_helped_by_an_administrator(ann: User, boss: User, phone: Phone) -> None:
    administrator = signed_in(boss)
    assert "Remove the second factor" in words(administrator.get(f"/people/{ann.pk}/"))
    administrator.post(f"/people/{ann.pk}/second-factor/")
    browser = Client()
    sign_in(browser, "ann", PASSWORD)
    assert is_in(browser)
    again = administrator.post(f"/people/{ann.pk}/second-factor/", follow=True)
    assert "has no second factor" in words(again)


def test_a_link_for_a_new_password_does_not_pass_the_second_factor(
    ann: User, boss: User, phone: Phone
) -> None:
    shown = re.search(
        r'id="link">http://[^/]+(/[^<]+)<', words(signed_in(boss).post(f"/people/{ann.pk}/password-link/"))
    )
    assert shown
    browser = Client()
    new = "a quite different secret 9"
    browser.post(shown[1], {"password1": new, "password2": new})
    assert sign_in(browser, "ann", new)["Location"] == STEP


def test_passkeys_are_offered_only_where_browsers_have_them(ann: User, settings: LazySettings) -> None:
    browser = confirmed(ann)
    assert "Browsers allow passkeys only where" in words(browser.get("/account/second-factor/"))
    assert "Use a passkey" not in words(Client().get("/sign-in/"))
    assert browser.get("/account/second-factor/passkeys/add/").status_code == 404
    settings.PASSKEY_HOST = "testserver"
    assert "Use a passkey" in words(Client().get("/sign-in/"))
    assert browser.get("/account/second-factor/passkeys/add/").status_code == 200


@pytest.mark.parametrize(
    ("scheme", "host", "name"),
    [
        ("https", "machines.example.org", "machines.example.org"),
        ("http", "machines.example.org", ""),
        ("http", "localhost", "localhost"),
        ("http", "127.0.0.1", ""),
        ("https", "192.0.2.7", ""),
        ("https", "2001:db8::7", ""),
    ],
)
def test_a_passkey_belongs_to_a_name_with_tls(scheme: str, host: str, name: str) -> None:
    from portal.settings import _passkey_host

    assert _passkey_host(scheme, host) == name


ODD = ("", "{}", "no json", '{"response": {"userHandle": "MQ"}}', '{"id": 7}', "[]", '{"id": "x", "rawId": "x"}', "7",
       '{"id": "AA", "rawId": "AA", "type": "public-key", "response": {"clientDataJSON": "e30", "authenticatorData": "AA", "attestationObject": "AA", "signature": "AA", "userHandle": "AA"}}')  # fmt: skip  # noqa: E501


@pytest.mark.parametrize("credential", ODD)
def test_an_odd_passkey_opens_nothing_and_is_no_error_of_ours(
    ann: User, settings: LazySettings, phone: Phone, credential: str
) -> None:
    settings.PASSKEY_HOST = "testserver"
    browser = Client()
    browser.get("/sign-in/passkey/", headers={"Accept": "application/json"})
    answer = browser.post("/sign-in/passkey/", {"credential": credential})
    assert (answer.status_code, answer["Location"]) == (302, "/sign-in/")
    assert not is_in(browser)
    second = half_in()
    second.get(STEP)
    assert second.post(STEP, {"credential": credential}).status_code == 200
    assert not is_in(second)
    inside = confirmed(ann)
    inside.get("/account/second-factor/passkeys/add/")
    answer = inside.post("/account/second-factor/passkeys/add/", {"name": "x", "credential": credential})
    assert answer.status_code == 200
    assert not Authenticator.objects.filter(type=Authenticator.Type.WEBAUTHN).exists()
