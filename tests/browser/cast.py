"""The people of an installation, and the windows in which they are signed in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.chromium import DESKTOP, PHONE, Witness, context_of
from tests.browser.conftest import Site
from tests.browser.pages import Door

PASSWORD = "correct horse battery staple"

_MAKE = """
from django.contrib.auth.hashers import make_password
from portal.accounts.models import User
secret = make_password({password!r})
User.objects.bulk_create(User(username=name, password=secret) for name in {names!r})
"""


def make_people(site: Site, names: Sequence[str], more: str = "") -> None:
    """An account for each; `more` is what else is written beside them, in the portal's own words."""
    script = _MAKE.format(password=PASSWORD, names=tuple(names))
    site.launcher.manage("shell", "-c", script + more)


_DEAF = """
window.WebSocket = new Proxy(WebSocket, {
  construct: (real, args) =>
    String(args[0]).endsWith("/ws/live/")
      ? { readyState: real.OPEN, addEventListener() {}, send() {} }
      : Reflect.construct(real, args),
});
"""


@contextmanager
def window_of(site: Site, name: str, size: tuple[int, int] = DESKTOP) -> Iterator[Page]:
    """A browser of its own in which the person is signed in; nothing in it may complain."""
    with context_of(site.browser, size) as context:
        page = context.new_page()
        witness = Witness(page)
        enter(page, site, name)
        yield page
        assert witness.complaints == []


def enter(page: Page, site: Site, name: str) -> None:
    """Sign in."""
    Door(page).sign_in(name, site.password if name == site.name else PASSWORD)
    expect(page.get_by_role("heading", name="Machines", exact=True)).to_be_visible()


def deaf(page: Page) -> Page:
    """The page with a live socket on which nothing is ever said: what happens in it is its console's own doing."""
    page.add_init_script(_DEAF)
    return page


def keep(page: Page, name: str) -> None:
    """A picture of the page at both widths, where somebody wants to look at it."""
    folder = os.environ.get("OFFSHOOT_SCREENSHOTS")
    if not folder:
        return
    for suffix, (width, height) in (("", DESKTOP), ("-phone", PHONE)):
        page.set_viewport_size({"width": width, "height": height})
        page.screenshot(path=Path(folder) / f"{name}{suffix}.png", full_page=True)
    page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})
