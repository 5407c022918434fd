"""Sessions that end elsewhere close what was open in them; wrong passwords are counted for the whole site.

A real server and a real Redis.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from html import unescape
from pathlib import Path

import httpx
import pytest
import redis
from django.conf import LazySettings
from django.test import Client

from portal.accounts.models import User
from portal.live import publish
from tests.web.people import PASSWORD
from tests.web.site import Browser, Site, code_of
from tests.web.test_live import SIGN_IN, heard, page, watch
from tests.web.test_security_headers import sign_in

pytestmark = pytest.mark.django_db(transaction=True)
NEW = "a quite different secret 9"


@pytest.fixture(autouse=True)
def _as_the_site(site: Site, settings: LazySettings) -> None:
    """The site's process knows the real hashers only, and shall not count what the test of before did."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    with closing(redis.Redis(unix_socket_path=str(site.broker.socket))) as client:
        client.flushdb()


class Visitors:
    """Browsers in which people signed in by the page, as they do."""

    def __init__(self, site: Site, stack: ExitStack) -> None:
        self._site, self._stack = site, stack

    def __call__(self, name: str, agent: str = "Firefox/140 Linux") -> Browser:
        browser = self._stack.enter_context(Browser(self._site, None))
        browser.web.headers["User-Agent"] = agent
        assert self.enter(browser, name).status_code == 302
        browser.web.get("/machines/")
        browser.web.headers["X-CSRFToken"] = browser.web.cookies["csrftoken"]
        return browser

    def enter(self, browser: Browser, name: str, password: str = PASSWORD) -> httpx.Response:
        return browser.web.post("/sign-in/", data={"login": name, "password": password})


@pytest.fixture
def visitor(site: Site) -> Iterator[Visitors]:
    with ExitStack() as stack:
        yield Visitors(site, stack)


@pytest.fixture
def boss(site: Site) -> User:
    return User.objects.create_user("boss", password=PASSWORD, is_staff=True)


def still_open(opened: object) -> bool:
    publish.library_changed()
    return bool(heard(opened) == {"changed": ["library"]})  # type: ignore[arg-type]


def test_the_list_says_where_one_is_signed_in_and_signs_out_there(ann: User, visitor: Visitors) -> None:
    here, there = visitor("ann"), visitor("ann", "Mozilla/5.0 (Windows NT 10.0) Chrome/140 Safari/537")
    with page(here) as mine, page(there) as theirs:
        watch(mine, "library")
        watch(theirs, "library")
        listed = unescape(here.web.get("/account/sessions/").text)
        assert "Firefox on Linux" in listed
        assert "Chrome on Windows" in listed
        [end] = re.findall(r"/account/sessions/\d+/end/", listed)  # one's own is not among them
        assert here.web.post(end).status_code == 302
        assert code_of(theirs) == SIGN_IN
        assert still_open(mine)
    assert there.web.get("/machines/").status_code == 302
    assert here.web.get("/machines/").status_code == 200


def test_a_session_of_somebody_elses_is_not_ended(ann: User, ben: User, visitor: Visitors) -> None:
    here, mallory = visitor("ann"), visitor("ben")
    elsewhere = visitor("ann")
    [end] = re.findall(r"/account/sessions/\d+/end/", here.web.get("/account/sessions/").text)
    assert mallory.web.post(end).status_code == 404
    assert elsewhere.web.get("/machines/").status_code == 200


@pytest.mark.parametrize("how", ["everywhere else", "password"])
def test_what_ends_ones_other_sessions_closes_what_is_open_in_them(
    ann: User, visitor: Visitors, how: str
) -> None:
    here, there = visitor("ann"), visitor("ann")
    with page(there) as theirs:
        watch(theirs, "library")
        if how == "password":
            form = {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW}
            assert here.web.post("/account/password/", data=form).status_code == 302
        else:
            assert here.web.post("/account/sessions/").status_code == 302
        assert code_of(theirs) == SIGN_IN
    assert there.web.get("/machines/").status_code == 302
    assert here.web.get("/machines/").status_code == 200


@pytest.mark.parametrize("how", ["switch-off", "sign-out", "password-link", "roles"])
def test_what_an_administrator_does_closes_what_is_open_elsewhere(
    ann: User, boss: User, visitor: Visitors, how: str
) -> None:
    if how == "roles":  # who was an administrator
        User.objects.filter(pk=ann.pk).update(is_staff=True)
    administrator, there = visitor("boss"), visitor("ann")
    with page(there) as theirs, page(administrator) as mine:
        watch(theirs, "library")
        watch(mine, "library")
        answer = administrator.web.post(f"/people/{ann.pk}/{how}/")
        if how == "password-link":
            shown = re.search(r'id="link">http://[^/]+(/[^<]+)<', answer.text)
            assert shown
            with Browser(visitor._site, None) as stranger:
                stranger.web.post(shown[1], data={"password1": NEW, "password2": NEW})
        assert code_of(theirs) == SIGN_IN
        assert still_open(mine)
    assert there.web.get("/machines/").status_code == 302


def test_wrong_passwords_are_counted_for_every_process_of_the_site(
    ann: User, visitor: Visitors, site: Site, settings: LazySettings
) -> None:
    with Browser(site, None) as browser:
        for attempt in range(5):
            assert visitor.enter(browser, "ann", f"wrong {attempt}").status_code == 200
        assert visitor.enter(browser, "ann").status_code == 429
    settings.CACHES = _redis(Path(site.broker.socket))
    assert sign_in(Client(), "ann", PASSWORD).status_code == 429


def test_nobody_signs_in_while_wrong_passwords_cannot_be_counted(
    ann: User, folder: Path, settings: LazySettings
) -> None:
    settings.CACHES = _redis(folder / "nowhere.sock")
    answer = sign_in(Client(), "ann", PASSWORD)
    assert answer.status_code == 503
    assert "Nothing was changed" in answer.content.decode()
    assert "sessionid" not in answer.cookies


def _redis(socket: Path) -> dict[str, dict[str, object]]:
    from portal.settings import CACHES

    settings: dict[str, object] = dict(CACHES["default"])
    return {"default": settings | {"LOCATION": f"unix://{socket}"}}
