"""The pages as a person uses them: by their labels, buttons and words."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

_SLOW_MS = 60_000


class Door:
    """The sign-in page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def sign_in(self, name: str, password: str) -> None:
        """Type name and password."""
        self.page.goto("/sign-in/")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()


def go_to(page: Page, name: str) -> None:
    """By the navigation, which is behind a button on a phone."""
    menu = page.get_by_role("button", name="Menu")
    if menu.is_visible():
        menu.click()
    page.locator("#topnav").get_by_role("link", name=name).click()


class Library:
    """The discs."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def open(self) -> None:
        """By the link at the top."""
        go_to(self.page, "Discs")
        expect(self.page.get_by_role("heading", name="Discs", exact=True)).to_be_visible()

    def upload(self, disc: Path) -> None:
        """Choose a file."""
        expect(self.page.locator("#upload-area[data-ready]")).to_be_attached(timeout=30_000)
        self.page.locator("#upload-file").set_input_files(disc)

    def row(self, name: str) -> Locator:
        """A disc's line in the library."""
        return self.page.locator(".library-table tbody tr").filter(has_text=name)


class NewMachine:
    """The form of a new machine."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def fill(self, *, name: str, disc: str = "No disc", size: str = "Small", disk_gib: int = 4) -> None:
        """Name, disc, size and disk; the rest is as it comes."""
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("What to install").select_option(label=disc)
        self.page.locator(".tile").filter(has_text=re.compile(f"^\\s*{size}")).click()
        self.page.get_by_label("Disk", exact=True).fill(str(disk_gib))

    def custom(self, *, cpus: str, memory_gib: str) -> None:
        """A size of one's own."""
        self.page.locator(".tile").filter(has_text="You choose").click()
        self.page.get_by_label("Processors").fill(cpus)
        self.page.get_by_label("Memory (GB)").fill(memory_gib)

    def create(self) -> None:
        """Press Create."""
        self.page.get_by_role("button", name="Create").click()

    def review(self) -> str:
        """What stands beside the form."""
        return self.page.get_by_label("Review").inner_text()


class MachinePage:
    """One machine's page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @property
    def status(self) -> Locator:
        """The word with its colour at the top."""
        return self.page.locator("#machine-head .status").first

    @property
    def canvas(self) -> Locator:
        """The machine's screen."""
        return self.page.locator("[data-console-screen] canvas")

    @property
    def machine_id(self) -> str:
        """As the address says."""
        return self.page.url.rstrip("/").rpartition("/")[2]

    def press(self, name: str) -> None:
        """A button at the top of the page."""
        self.page.locator("#machine-head").get_by_role("button", name=name, exact=True).click()

    def confirm(self, name: str) -> None:
        """The button of the question that is open."""
        self.page.locator("dialog[open]").get_by_role("button", name=name, exact=True).click()

    def has_status(self, words: str) -> None:
        """Wait until the page says so, by itself."""
        expect(self.status).to_have_text(re.compile(words), timeout=_SLOW_MS)

    def has_screen(self) -> None:
        """Wait until the console is connected."""
        expect(self.page.locator("#console")).to_have_attribute("data-connected", "yes", timeout=_SLOW_MS)
        expect(self.canvas).to_be_visible()

    def delete(self, name: str) -> None:
        """Delete, typing a name."""
        self.press("Delete")
        self.page.locator("#typed-name").fill(name)
        self.confirm("Delete for good")
