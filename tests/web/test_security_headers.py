"""What a browser is told to guard against, how people get in, and what the installation keeps secret."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import time
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings, settings
from django.core.management import call_command
from django.http import HttpResponseBase
from django.test import Client

from portal.accounts.models import User
from portal.accounts.services import ensure_administrator
from portal.machines import services
from portal.machines.models import Machine
from portal.secrets import load_or_create
from portal.serve import configuration
from tests.web.people import PASSWORD, image_named, machine_of, nobody, signed_in

ROOT = Path(__file__).parents[2]


class Inline(HTMLParser):
    """Collects what a strict policy forbids: code and styles in the page, and addresses that are code."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts = 0
        self._in_script = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_script = tag == "script"
        self.scripts += self._in_script
        if tag == "style" or (tag == "script" and not dict(attrs).get("src")):
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            if name.startswith("on") or name in ("style", "srcdoc"):
                self.found.append(f"<{tag} {name}>")
            if (value or "").strip().lower().startswith(("javascript:", "data:text")):
                self.found.append(f"<{tag} {name}={value}>")
            if name in ("src", "href", "action") and "//" in (value or ""):
                self.found.append(f"<{tag} {name}={value}> is of another origin")

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.found.append(f"code: {data.strip()[:60]}")

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False


def check_headers(answer: HttpResponseBase) -> None:
    policy = answer["Content-Security-Policy"]
    assert "unsafe" not in policy
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";") if part.strip())
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == directives["style-src"] == directives["connect-src"] == "'self'"
    assert directives["frame-ancestors"] == directives["base-uri"] == "'none'"
    assert directives["form-action"] == "'self'"
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("name", ["web", "\"><script>alert('x')</script>", "' onclick=alert(1) x='"])
def test_no_page_has_code_or_styles_of_its_own_or_of_what_people_typed(
    rack: object, ann: User, boss: User, name: str
) -> None:
    image_named(name, added_by=ann, volume_label=name[:60])
    machine = machine_of(ann, name)
    Machine.objects.update(under_the_hood={"argv": ["qemu", name], "console_log": name}, exit_detail=name)
    browser = signed_in(boss)
    scripts = 0
    for address in ("/machines/", f"/machines/{machine.pk}/", f"/machines/{machine.pk}/figures/", "/machines/new/", "/discs/",
                    "/hosts/", "/hosts/rack-1/", "/account/password/", f"/machines/?q={name}",
                    f"/machines/{nobody()}/"):  # fmt: skip
        answer = browser.get(address)
        page = Inline(answer.content.decode())
        assert page.found == [], address
        scripts += page.scripts
        check_headers(answer)
    assert scripts >= 9  # the parser sees the pages' scripts at all
    wrong = browser.post("/machines/new/", {"name": name, "size": name, "disk_gib": name})
    assert (wrong.status_code, Inline(wrong.content.decode()).found) == (422, [])
    check_headers(wrong)


def test_pages_for_those_who_are_not_in_yet_are_as_strict(db: None) -> None:
    without_token = Client(enforce_csrf_checks=True)
    for answer in (
        Client().get("/sign-in/"),
        Client().get("/nothing/"),
        Client().post("/sign-in/", {"login": "<script>", "password": "x"}),
        without_token.post("/sign-in/"),
    ):
        assert Inline(answer.content.decode()).found == []
        check_headers(answer)


def test_an_error_of_ours_is_a_page_that_tells_nothing_of_the_inside(
    machine: Machine, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_words: object) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(services, "machine_force_off", fail)
    browser = signed_in(ann)
    browser.raise_request_exception = False
    answer = browser.post(f"/machines/{machine.pk}/force-off/")
    page = answer.content.decode()
    assert answer.status_code == 500
    assert "they go on running" in page
    assert "secret" not in page
    assert Inline(page).found == []
    check_headers(answer)


def sign_in(browser: Client, name: str, password: str, **headers: str) -> Any:
    return browser.post("/sign-in/", {"login": name, "password": password}, headers=headers)


def test_cookies_are_kept_from_scripts_and_from_other_sites(ann: User) -> None:
    browser = Client()
    browser.get("/sign-in/")
    assert sign_in(browser, "ann", PASSWORD).status_code == 302
    assert set(browser.cookies) == {"sessionid", "csrftoken"}
    for cookie in browser.cookies.values():
        assert cookie["httponly"] is True
        assert cookie["samesite"] == "Strict"


def test_signing_in_gives_another_session_and_signing_out_ends_it(ann: User) -> None:
    browser = Client()
    sign_in(browser, "ann", PASSWORD)
    first = browser.cookies["sessionid"].value
    browser.post("/sign-out/")
    stolen = Client()
    stolen.cookies = SimpleCookie({"sessionid": first})
    assert stolen.get("/machines/").status_code == 302
    sign_in(browser, "ann", PASSWORD)
    assert browser.cookies["sessionid"].value != first


def test_a_new_password_ends_the_persons_other_sessions(ann: User) -> None:
    here, elsewhere = Client(), Client()
    for browser in (here, elsewhere):
        sign_in(browser, "ann", PASSWORD)
    new = "another good long one 7"
    form = {"oldpassword": PASSWORD, "password1": new, "password2": new}
    weak = {"oldpassword": PASSWORD, "password1": "password", "password2": "password"}
    assert here.post("/account/password/", weak).status_code == 200
    assert elsewhere.get("/machines/").status_code == 200
    assert here.post("/account/password/", form).status_code == 302
    assert here.get("/machines/").status_code == 200
    assert elsewhere.get("/machines/").status_code == 302


def test_nobody_is_sent_to_another_site_after_signing_in(ann: User) -> None:
    form = {"login": "ann", "password": PASSWORD, "next": "https://evil.example/"}
    assert Client().post("/sign-in/", form)["Location"] == "/machines/"


def test_five_wrong_passwords_close_the_door_for_that_name_only(ann: User, ben: User) -> None:
    for attempt in range(5):
        answer = sign_in(Client(), "ann", f"wrong {attempt}")
        assert "is wrong" in answer.content.decode() or attempt == 4
    locked = sign_in(Client(), "ann", PASSWORD)
    assert locked.status_code == 429
    assert "Too many attempts" in locked.content.decode()
    assert "15 minutes" in locked.content.decode()
    assert Inline(locked.content.decode()).found == []
    assert "sessionid" not in locked.cookies
    assert sign_in(Client(), "ben", PASSWORD).status_code == 302


@pytest.mark.parametrize(
    ("spelling", "headers"),
    [("  ann ", {}), ("\uff41nn", {}), ("ann", {"X-Forwarded-For": "10.1.2.3", "X-Real-IP": "10.1.2.3"})],
    ids=["blanks", "full-width letters", "an address of one's own choice"],
)
def test_the_closed_door_is_not_opened_by_spelling_or_headers(
    ann: User, spelling: str, headers: dict[str, str]
) -> None:
    for attempt in range(5):
        sign_in(Client(), "ann", f"wrong {attempt}")
    assert sign_in(Client(), spelling, PASSWORD, **headers).status_code == 429


def test_whoever_goes_on_failing_does_not_keep_the_door_closed(
    ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    for attempt in range(5):
        sign_in(Client(), "ann", f"wrong {attempt}")
    for minutes in (5, 10, 14):
        monkeypatch.setattr(time, "time", lambda minutes=minutes: now + minutes * 60)
        assert sign_in(Client(), "ann", "wrong again").status_code == 429
    monkeypatch.setattr(time, "time", lambda: now + 16 * 60)
    assert sign_in(Client(), "ann", PASSWORD).status_code == 302


def address_seen(*, behind_proxy: bool, sender: str, forwarded: str) -> str:
    """The address that the portal counts by, when the sender says that it asks for another."""
    seen: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"][0])

    config = configuration(application, behind_proxy=behind_proxy)
    config.load()
    headers = [(b"x-forwarded-for", forwarded.encode()), (b"x-forwarded-proto", b"https")]
    scope: Any = {"type": "http", "client": (sender, 4711), "scheme": "http", "headers": headers}
    nothing: Any = None
    asyncio.run(config.loaded_app(scope, nothing, nothing))
    return seen[0]


def test_behind_a_proxy_on_this_host_wrong_passwords_count_for_who_typed_them() -> None:
    for proxy in ("127.0.0.1", "::1"):
        assert address_seen(behind_proxy=True, sender=proxy, forwarded="192.0.2.7") == "192.0.2.7"
    # What the browser wrote stands before what the proxy adds.
    assert address_seen(behind_proxy=True, sender="127.0.0.1", forwarded="10.1.2.3, 192.0.2.7") == "192.0.2.7"


def test_nobody_chooses_the_address_by_which_wrong_passwords_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")  # what uvicorn reads by itself
    assert address_seen(behind_proxy=True, sender="192.0.2.9", forwarded="10.1.2.3") == "192.0.2.9"
    assert address_seen(behind_proxy=False, sender="127.0.0.1", forwarded="10.1.2.3") == "127.0.0.1"


def test_four_wrong_passwords_and_a_right_one_begin_anew(ann: User) -> None:
    for _round in range(2):
        for attempt in range(4):
            sign_in(Client(), "ann", f"wrong {attempt}")
        assert sign_in(Client(), "ann", PASSWORD).status_code == 302


def test_who_does_not_exist_is_answered_like_a_wrong_password(ann: User) -> None:
    words = [sign_in(Client(), name, "wrong").context["form"].errors for name in ("ann", "nobody-here")]
    assert words[0] == words[1]


def test_secrets_are_random_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    made = [load_or_create(tmp_path / str(number) / "secrets.json") for number in range(2)]
    keys = {key for each in made for key in (each.django_key, each.fleet_key)}
    assert len(keys) == 4
    assert all(len(key) >= 64 for key in keys)
    path = tmp_path / "0" / "secrets.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert load_or_create(path) == made[0]
    assert [each.name for each in path.parent.iterdir()] == ["secrets.json"]
    assert settings.SECRET_KEY != settings.FLEET_KEY


def test_there_is_no_default_password(db: None) -> None:
    made = ensure_administrator()
    assert made is not None
    assert len(made.password) >= 20
    assert ensure_administrator() is None
    user = User.objects.get()
    assert user.is_administrator
    assert user.check_password(made.password)
    assert made.password not in user.password
    for guess in ("", "admin", "password", "offshoot"):
        assert not user.check_password(guess)
    User.objects.all().delete()
    again = ensure_administrator()
    assert again is not None
    assert again.password != made.password


def test_the_first_password_is_shown_once(db: None) -> None:
    first, second = io.StringIO(), io.StringIO()
    call_command("ensure_administrator", "--json", stdout=first)
    call_command("ensure_administrator", "--json", stdout=second)
    assert json.loads(first.getvalue())["administrator"]["name"] == "admin"
    assert json.loads(second.getvalue()) == {"administrator": None}


OVER_TLS = """
import django, json
django.setup()
from django.conf import settings
from django.core.management import call_command
from django.test import Client
call_command("migrate", verbosity=0)
browser = Client(headers={"host": "machines.example.org", "x-forwarded-proto": PROTO})
answer = browser.get("/sign-in/")
cookies = {name: bool(cookie["secure"]) for name, cookie in answer.cookies.items()}
print(json.dumps([cookies, settings.SESSION_COOKIE_SECURE, answer.get("Strict-Transport-Security"), answer.status_code]))
"""


@pytest.mark.parametrize("origin", ["https://machines.example.org", "http://machines.example.org"])
def test_cookies_are_for_tls_only_where_the_site_has_it(folder: Path, origin: str) -> None:
    over_tls = origin.startswith("https")
    environ = {"PATH": os.environ["PATH"], "OFFSHOOT_STATE": str(folder / "state"), "OFFSHOOT_ORIGIN": origin,
               "DJANGO_SETTINGS_MODULE": "portal.settings"}  # fmt: skip
    code = OVER_TLS.replace("PROTO", '"https"' if over_tls else '"http"')
    run = subprocess.run(
        (sys.executable, "-c", code), cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    cookies, session_secure, strict, status = json.loads(run.stdout)
    assert status == 200
    assert cookies == {"csrftoken": over_tls}
    assert session_secure is over_tls
    assert strict == ("max-age=31536000" if over_tls else None)
    assert (folder / "state" / "portal" / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_a_host_header_of_somebody_elses_is_refused(db: None, settings: LazySettings) -> None:
    settings.ALLOWED_HOSTS = ["127.0.0.1"]  # the test runner lets "testserver" in
    assert Client(headers={"host": "127.0.0.1:8000"}).get("/sign-in/").status_code == 200
    assert Client(headers={"host": "evil.example"}).get("/sign-in/").status_code == 400
