"""A new person's way: sign in, bring a disc, make a machine, meet its installer in the page, and go on to the end."""

from __future__ import annotations

import re
from pathlib import Path

from PIL.Image import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.pages import Library, MachinePage, NewMachine
from tests.browser.screen import difference, in_the_browser, in_the_machine, shows_the_menu
from tests.lab.waiting import wait_for
from workers.plan.names import MachineFolder


def test_from_nothing_to_the_installer_and_to_the_end_of_the_machine(
    site: Site, page: Page, installer: Path
) -> None:
    expect(page.get_by_role("heading", name="Make your first machine")).to_be_visible()

    library = Library(page)
    library.open()
    library.upload(installer)
    expect(library.row(installer.stem)).to_be_visible(timeout=60_000)

    page.get_by_role("link", name="Machines", exact=True).click()
    page.get_by_role("link", name="New machine").click()
    form = NewMachine(page)
    form.fill(name="first box", disc=installer.stem)
    assert "first box" in form.review()
    assert "4 GB, growing" in form.review()
    form.create()

    machine = MachinePage(page)
    expect(page.get_by_role("heading", name="first box")).to_be_visible()
    machine.has_status("Running")
    steps = page.locator(".steps-list .step")
    expect(steps).to_have_count(4)
    expect(page.locator(".steps-list .step.is-done")).to_have_count(4)
    expect(steps).to_have_text(
        [re.compile(words) for words in ("Disc", "Disk made", "Network ready", "Started")]
    )
    machine.has_screen()
    _installer_asks_and_hears_the_keyboard(machine, site.machine(machine.machine_id))

    page.get_by_role("button", name="The installation is finished").click()
    expect(page.locator(".drive")).to_have_text(re.compile("empty"))
    expect(page.get_by_role("button", name="The installation is finished")).to_have_count(0)
    machine.has_status("Running")

    machine.press("Force off")
    machine.confirm("Force off")
    machine.has_status("Off")
    expect(page.locator("[data-console-status]")).to_have_text(re.compile("The machine is off"))
    machine.press("Start")
    machine.has_status("Running")
    machine.has_screen()
    folder = site.machine(machine.machine_id)
    machine.press("Delete")
    page.locator("#typed-name").fill("another name")
    expect(page.get_by_role("button", name="Delete for good")).to_be_disabled()
    machine.confirm("Cancel")
    machine.delete("first box")
    expect(page.get_by_role("heading", name="Make your first machine")).to_be_visible(timeout=30_000)
    assert not folder.root.exists()


def _installer_asks_and_hears_the_keyboard(machine: MachinePage, folder: MachineFolder) -> None:
    def real() -> Image:
        return in_the_machine(folder.qmp_socket, folder.run)

    wait_for("the installer asks for a language", lambda: shows_the_menu(real()), seconds=120, pause=1)
    before = real()
    wait_for(
        "the browser shows the same",
        lambda: difference(in_the_browser(machine.canvas), before) < 0.01,
        seconds=10,
    )
    machine.canvas.click(position={"x": 5, "y": 5})
    machine.page.keyboard.press("ArrowDown")
    wait_for("the menu moves", lambda: difference(real(), before) > 0.01, seconds=10)
    after = real()
    wait_for(
        "the browser shows it", lambda: difference(in_the_browser(machine.canvas), after) < 0.005, seconds=10
    )
