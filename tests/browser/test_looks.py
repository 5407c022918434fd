"""Every page on a desk and on a phone: nothing sticks out, nothing complains, everybody can use it.

With OFFSHOOT_SCREENSHOTS=<folder> each page is kept there as a picture.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.chromium import (
    DESKTOP,
    PHONE,
    Witness,
    accessibility_faults,
    context_of,
    is_wider_than_its_window,
)
from tests.browser.conftest import Site
from tests.browser.pages import Door, Library, MachinePage, NewMachine
from tests.browser.screen import in_the_machine, shows_the_menu
from tests.lab.waiting import wait_for

PAGES = (
    "sign-in", "machines", "machine", "machine-off", "new-machine", "new-machine-refused", "discs", "hosts", "host",
    "password", "not-found", "snapshots", "hardware", "copies", "templates", "from-template",
    "backups", "restore", "old-backups", "networks", "new-network", "machine-network",
)  # fmt: skip


@pytest.fixture(scope="module")
def addresses(site: Site, installer: Path) -> dict[str, str]:
    """A site in use: a disc, a machine at its installer, one that is off. The address of each page."""
    with context_of(site.browser) as context:
        page = context.new_page()
        Door(page).sign_in(site.name, site.password)
        expect(page.get_by_role("heading", name="Make your first machine")).to_be_visible()
        _keep(page, "first-time")
        library = Library(page)
        library.open()
        library.upload(installer)
        expect(library.row(installer.stem)).to_be_visible(timeout=60_000)
        off = _machine(page, name="database", disc="No disc", size="Medium")
        MachinePage(page).press("Force off")
        MachinePage(page).confirm("Force off")
        MachinePage(page).has_status("Off")
        template = _template(page, of=off)
        restore = _backup(page, of=off)
        runs = _machine(page, name="web-server", disc=installer.stem, size="Small")
        machine = MachinePage(page)
        folder = site.machine(machine.machine_id)
        wait_for(
            "the installer asks",
            lambda: shows_the_menu(in_the_machine(folder.qmp_socket, folder.run)),
            seconds=120,
            pause=1,
        )
        _snapshots(page, of=runs)
        _more_processors(page, of=runs)
        _limits(page, of=runs)
        page.goto("/hosts/")
        page.locator(".host-card").first.click()
        host = page.url
    return {
        "sign-in": "/sign-in/", "machines": "/machines/", "machine": runs, "machine-off": off,
        "new-machine": "/machines/new/", "new-machine-refused": "/machines/new/", "discs": "/discs/",
        "hosts": "/hosts/", "host": host, "password": "/account/password/", "not-found": "/machines/nowhere/",
        "hardware": f"{runs}hardware/", "snapshots": f"{runs}snapshots/",
        "copies": f"{off}copies/", "templates": "/templates/", "from-template": template,
        "backups": f"{off}backups/", "restore": restore, "old-backups": "/backups/",
        "networks": "/networks/", "new-network": "/networks/new/", "machine-network": f"{runs}network/",
    }  # fmt: skip


@pytest.fixture(scope="module", params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def window(request: pytest.FixtureRequest, site: Site) -> Iterator[tuple[BrowserContext, str]]:
    """A window of that size, signed in."""
    with context_of(site.browser, request.param) as context:
        page = context.new_page()
        Door(page).sign_in(site.name, site.password)
        expect(page.get_by_role("heading", name="Machines", exact=True)).to_be_visible()
        page.close()
        yield context, "" if request.param == DESKTOP else "-phone"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_window_and_is_free_of_faults(
    site: Site, addresses: dict[str, str], window: tuple[BrowserContext, str], name: str
) -> None:
    signed_in, suffix = window
    if name == "sign-in":
        with context_of(site.browser, PHONE if suffix else DESKTOP) as anonymous:
            _look(anonymous, addresses, name, suffix)
    else:
        _look(signed_in, addresses, name, suffix)


def test_a_page_can_be_used_by_the_keyboard_alone(site: Site, window: tuple[BrowserContext, str]) -> None:
    page = window[0].new_page()
    page.goto("/machines/")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.goto("/machines/new/")
    page.get_by_label("Name").fill("by keys")
    page.locator("input[name=size][value=small]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("input[name=size][value=medium]")).to_be_checked()
    assert "Medium" in page.get_by_label("Review").inner_text()
    page.close()


@pytest.mark.parametrize("width", [390, 768, 1000, 1024, 1210, 1280])
def test_the_navigation_fits_every_width_behind_a_button_where_that_is_narrow(site: Site, width: int) -> None:
    with context_of(site.browser, (width, 800)) as context:
        page = context.new_page()
        Door(page).sign_in(site.name, site.password)
        links = page.locator("#topnav a")
        menu = page.get_by_role("button", name="Menu")
        expect(page.locator(".bell")).to_be_visible()
        if width < 992:
            expect(links.last).to_be_hidden()
            menu.click()
            expect(links.last).to_be_visible()
            _keep(page, f"menu-{width}")
            assert accessibility_faults(page) == []
            page.keyboard.press("Escape")
            expect(links.last).to_be_hidden()
            menu.click()
            page.get_by_role("link", name="People").click()
            expect(page.get_by_role("heading", name="People", exact=True)).to_be_visible()
        else:
            expect(menu).to_be_hidden()
            _keep(page, f"navigation-{width}")
            along = [
                page.locator(".brand"),
                *links.all(),
                page.locator(".bell"),
                page.locator(".account-menu"),
            ]
            boxes = [box for each in along if (box := each.bounding_box())]
            assert len(boxes) == len(along) == 10
            gaps = [b["x"] - a["x"] - a["width"] for a, b in pairwise(boxes)]
            assert min(gaps) >= 0, gaps
            assert len({box["height"] for box in boxes[1:8]}) == 1
        assert not is_wider_than_its_window(page)


def test_a_kind_of_system_says_what_it_brings_and_what_windows_asks_for(
    window: tuple[BrowserContext, str],
) -> None:
    page = window[0].new_page()
    page.goto("/machines/new/")
    hint = page.get_by_text("Windows 11 asks for at least")
    expect(hint).to_be_hidden()
    page.locator(".tile").filter(has_text="Windows").first.click()
    page.get_by_text("Advanced: firmware and imitated hardware").click()
    expect(page.get_by_label("Firmware").locator("option").first).to_have_text(
        "Automatic: UEFI with Secure Boot"
    )
    expect(page.get_by_label("Security chip").locator("option").first).to_have_text(
        "Automatic: With a TPM 2.0"
    )
    NewMachine(page).custom(cpus="2", memory_gib="4")
    page.get_by_label("Disk", exact=True).fill("63")
    expect(hint).to_be_visible()
    _keep(page, f"new-machine-windows{window[1]}")
    page.get_by_label("Disk", exact=True).fill("64")
    expect(hint).to_be_hidden()
    assert "Windows" in NewMachine(page).review()
    assert not is_wider_than_its_window(page)
    page.close()


def _look(context: BrowserContext, addresses: dict[str, str], name: str, suffix: str) -> None:
    page = context.new_page()
    witness = Witness(page)
    page.goto(addresses[name])
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    if name == "machine":
        MachinePage(page).has_screen()
        page.wait_for_function("() => document.querySelector('[data-console-screen] canvas').width > 0")
    if name == "new-machine-refused":
        NewMachine(page).create()
        expect(page.get_by_text("Nothing was made yet")).to_be_visible()
    _keep(page, name + suffix)
    assert not is_wider_than_its_window(page)
    assert accessibility_faults(page) == []
    assert witness.complaints == []
    page.close()


def _machine(page: Page, *, name: str, disc: str, size: str) -> str:
    page.goto("/machines/new/")
    form = NewMachine(page)
    form.fill(name=name, disc=disc, size=size)
    if "OFFSHOOT_SCREENSHOTS" in os.environ:
        _keep(page, "new-machine-filled")
    form.create()
    MachinePage(page).has_status("Running")
    return page.url


def _template(page: Page, *, of: str) -> str:
    """A template of the machine at that address, with a linked clone beside it; the address of its form."""
    page.goto(f"{of}copies/")
    page.get_by_label("Name of the new machine").fill("database-copy")
    page.get_by_label("Start it at once").uncheck()
    page.get_by_role("button", name="Clone").click()
    MachinePage(page).has_status("Off")
    page.goto(f"{of}copies/")
    page.get_by_label("Name of the template").fill("PostgreSQL 16")
    page.get_by_label("What is in it").fill("Debian 12 with a database, ready to be filled.")
    page.get_by_role("button", name="Make a template").click()
    use = page.get_by_role("link", name="New machine")
    expect(use).to_be_visible()
    return f"/templates/{(use.get_attribute('href') or '').split('/')[-2]}/"


def _backup(page: Page, *, of: str) -> str:
    """A backup of the machine at that address, a plan for more, and an export; the address at which it is restored."""
    page.goto(f"{of}backups/")
    page.get_by_role("button", name="Save the plan").click()
    expect(page.get_by_text("The next one is due")).to_be_visible()
    page.get_by_role("button", name="Back up now").click()
    use = page.get_by_role("link", name="Restore")
    expect(use).to_be_visible(timeout=60_000)
    page.goto(f"{of}copies/")
    page.get_by_role("button", name="Export").click()
    page.goto(f"{of}copies/")
    expect(page.get_by_text("SHA-256")).to_be_visible(timeout=60_000)
    page.goto(f"{of}backups/")
    return use.get_attribute("href") or ""


def _more_processors(page: Page, *, of: str) -> None:
    """Asked of a machine that runs, so that the page says that they wait for its next start."""
    page.goto(f"{of}hardware/")
    page.get_by_label("Processors").fill("2")
    page.get_by_role("button", name="Apply").first.click()
    expect(page.get_by_text("From the next start on: 2 processors (now 1)")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("button", name="Restart now")).to_be_visible()


def _limits(page: Page, *, of: str) -> None:
    """Some, of a machine that runs."""
    page.goto(f"{of}hardware/")
    card = page.locator("#hardware-limits")
    card.get_by_label("Processor share").select_option("low")
    card.get_by_label("Operations a second").fill("500")
    card.get_by_label("Out, Mbit/s").fill("100")
    with page.expect_navigation():
        card.get_by_role("button", name="Apply").click()
    expect(card.get_by_label("Processor share")).to_have_value("low")
    expect(card.get_by_label("Out, Mbit/s")).to_have_value("100")


def _snapshots(page: Page, *, of: str) -> None:
    """Two of a machine that runs: the one with its memory, the other of its disks alone."""
    for name, memory in (("before the upgrade", True), ("after the first try", False)):
        page.goto(f"{of}snapshots/")
        page.locator("#id_name").fill(name)
        page.get_by_label("With its memory").set_checked(memory)
        page.get_by_role("button", name="Take it").click()
        expect(page.get_by_role("button", name=f"Go back to {name}")).to_be_visible(timeout=60_000)


def _keep(page: Page, name: str) -> None:
    folder = os.environ.get("OFFSHOOT_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
