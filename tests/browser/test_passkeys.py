"""Accounts in a real Chromium: a passkey of a virtual authenticator, and how the pages look on a desk and on a phone.

With OFFSHOOT_SCREENSHOTS=<folder> each page is kept there as a picture.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.conf import LazySettings, settings
from django.core.management import call_command
from django.test import override_settings
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from portal.accounts import invitations, registration
from portal.accounts.models import User
from portal.accounts.people import Roles
from portal.teams.models import Membership, Role, Team
from tests.browser.chromium import DESKTOP, PHONE, Witness, accessibility_faults, is_wider_than_its_window
from tests.browser.pages import Door
from tests.lab.flush import let_tests_empty_tables
from tests.lab.folder import short_folder
from tests.web.people import PASSWORD
from tests.web.site import Site

AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture(scope="module")
def served(django_db_setup: None) -> Iterator[Site]:
    """The portal as a process of its own, at a name that browsers allow passkeys for."""
    let_tests_empty_tables()
    plain = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }
    with short_folder() as folder:
        static = folder / "static"
        with override_settings(STATIC_ROOT=static / settings.BUILD, STORAGES=plain):
            call_command("collectstatic", verbosity=0, interactive=False)
        with closing(Site(folder, static=static, name="localhost")) as site:
            yield site


@pytest.fixture
def invitation(served: Site, transactional_db: None, settings: LazySettings) -> str:
    """People of every kind; the path of an invitation."""
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.PBKDF2PasswordHasher"
    ]  # as in the site's process
    boss = User.objects.create_superuser("boss", "boss@example.org", PASSWORD, approves=True)
    ann = User.objects.create_user("ann", "ann@example.org", PASSWORD, audits=True)
    User.objects.create_user("a-person-with-a-rather-long-name", "somebody@a-long-name.example.org", PASSWORD)
    User.objects.create_user("eve", "eve@example.org", PASSWORD, is_active=False, awaits_approval=True)
    team = Team.objects.create(name="kernel")
    Membership.objects.create(team=team, user=boss, role=Role.OWNER)
    Membership.objects.create(team=team, user=ann)
    registration.registration_set(is_open=True)
    wish = invitations.Wish("new@example.org", "newcomer", Roles(), team, Role.MEMBER)
    return "/invitation" + invitations.invite(wish=wish, by=boss).partition("/invitation")[2]


@pytest.fixture
def chrome(invitation: str) -> Iterator[Browser]:
    """Started after all rows are there: with its event loop in this thread Django makes none."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
            chromium_sandbox=False,
        )
        yield browser
        browser.close()


def window(chrome: Browser, site: Site, size: tuple[int, int] = DESKTOP) -> BrowserContext:
    """A window in which nobody is signed in."""
    return chrome.new_context(
        base_url=site.origin, viewport={"width": size[0], "height": size[1]}, has_touch=size == PHONE
    )


def test_a_passkey_is_registered_and_signs_in_without_name_and_password(
    served: Site, chrome: Browser
) -> None:
    context = window(chrome, served)
    page = context.new_page()
    witness = Witness(page)
    authenticator = context.new_cdp_session(page)
    authenticator.send("WebAuthn.enable")
    made = authenticator.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})

    Door(page).sign_in("ann", PASSWORD)
    expect(page.get_by_role("heading", name="Machines", exact=True)).to_be_visible()
    page.locator("summary").click()
    page.get_by_role("link", name="Your account").click()
    page.get_by_role("link", name="Set one up").click()
    page.get_by_role("link", name="Add a passkey").click()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Name").fill("Ann's laptop")
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_text("These are shown only now")).to_be_visible()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as a file").click()
    codes = saved.value.path().read_text().split()
    assert len(codes) == 10
    page.get_by_role("link", name="Done").click()
    expect(page.get_by_text("Ann's laptop")).to_be_visible()

    page.locator("summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.locator("summary")).to_contain_text("ann")  # back at the page where one was

    page.locator("summary").click()
    page.get_by_role("button", name="Sign out").click()
    Door(page).sign_in("ann", PASSWORD)  # the password alone is not enough any more
    expect(page.get_by_role("heading", name="The second step")).to_be_visible()
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.locator("summary")).to_contain_text("ann")

    page.locator("summary").click()
    page.get_by_role("button", name="Sign out").click()
    authenticator.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": made["authenticatorId"]})
    authenticator.send(
        "WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR}
    )  # somebody else's, empty
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_text("The passkey was not used")).to_be_visible()
    assert witness.complaints == []
    context.close()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_pages_of_accounts_fit_their_window_and_are_free_of_faults(
    served: Site, invitation: str, chrome: Browser, size: tuple[int, int]
) -> None:
    suffix = "-phone" if size == PHONE else ""
    outside = {
        "sign-in": "/sign-in/", "register": "/register/", "forgotten": "/password/forgotten/", "invitation": invitation,
        "waiting": "/sign-in/waiting/", "link-over": "/invitation/over/",
    }  # fmt: skip
    inside = {
        "account": "/account/", "account-mail": "/account/mail/", "password": "/account/password/",
        "second-factor": "/account/second-factor/", "again": "/account/second-factor/app/",
        "sessions": "/account/sessions/", "people": "/people/", "invite": "/people/invite/",
    }  # fmt: skip
    context = window(chrome, served, size)
    page = context.new_page()
    witness = Witness(page)
    for name, address in outside.items():
        page.goto(address)
        look(page, name + suffix)
    Door(page).sign_in("boss", PASSWORD)
    expect(page.get_by_role("heading", name="Machines", exact=True)).to_be_visible()
    for name, address in inside.items():
        page.goto(address)
        look(page, name + suffix)
    page.goto("/account/second-factor/app/")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("Point the app at this picture")).to_be_visible()
    look(page, f"app{suffix}")
    page.goto("/account/second-factor/passkeys/add/")
    look(page, f"add-passkey{suffix}")
    page.goto("/people/")
    page.get_by_role("link", name="ann", exact=True).click()
    expect(page.get_by_role("heading", name="ann", exact=True)).to_be_visible()
    look(page, f"person{suffix}")
    page.get_by_role("button", name="Link for a new password").click()
    expect(page.get_by_text("It is shown only now")).to_be_visible()
    look(page, f"link{suffix}")
    assert witness.complaints == []
    context.close()


def look(page: Page, name: str) -> None:
    """Nothing sticks out, everybody can use it."""
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    folder = os.environ.get("OFFSHOOT_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
    assert not is_wider_than_its_window(page), name
    assert accessibility_faults(page) == [], name
