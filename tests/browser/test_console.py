"""The console with real guests: what is typed arrives, and the screen comes back whenever the machine does."""

from __future__ import annotations

import itertools
import os
import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chromium import PHONE, context_of
from tests.browser.conftest import Site
from tests.browser.pages import Door, Library, MachinePage, NewMachine
from tests.browser.screen import text_of
from tests.guest.build import guest_disc
from tests.guest.prompt_disc import prompt_disc
from tests.lab.waiting import wait_for

_numbers = itertools.count(1)
EVERY_KEY = "abcXYZ 0123456789 -_=+[]{};:'\"\\|,.<>/?~!@#$%^&*()`"


@pytest.fixture
def at_a_prompt(page: Page, tmp_path: Path) -> MachinePage:
    """A machine whose loader waits for words."""
    disc = tmp_path / "prompt.iso"
    prompt_disc(disc)
    return _machine(page, disc)


def test_text_is_typed_into_the_machine_and_ctrl_alt_del_restarts_it(
    site: Site, at_a_prompt: MachinePage
) -> None:
    machine, page = at_a_prompt, at_a_prompt.page
    qmp = site.machine(machine.machine_id).qmp_socket
    wait_for("the loader asks", lambda: "boot:" in text_of(qmp), seconds=30)

    page.get_by_role("button", name="Type text").click()
    page.get_by_role("textbox", name="Type text into the machine").fill(EVERY_KEY)
    machine.confirm("Type it")
    wait_for("every character stands there", lambda: f"boot: {EVERY_KEY}" in text_of(qmp), seconds=20)

    machine.canvas.click()
    page.keyboard.press("z")
    wait_for("so does the next key", lambda: f"{EVERY_KEY}z" in text_of(qmp), seconds=10)

    page.get_by_role("button", name="Ctrl-Alt-Del").click()
    wait_for("it starts anew", lambda: EVERY_KEY not in text_of(qmp), seconds=20)
    wait_for("it asks again", lambda: "boot:" in text_of(qmp), seconds=30)
    machine.has_status("Running")


def test_the_screen_fits_the_page_or_keeps_its_size_and_fills_the_whole_display(
    at_a_prompt: MachinePage,
) -> None:
    machine, page = at_a_prompt, at_a_prompt.page
    stage = page.locator(".console-stage").bounding_box()
    fitted = machine.canvas.bounding_box()
    assert stage
    assert fitted
    assert fitted["width"] > 0.9 * stage["width"] or fitted["height"] > 0.9 * stage["height"]

    fit = page.get_by_role("button", name="Fit")
    fit.click()
    expect(fit).to_have_attribute("aria-pressed", "false")
    real = machine.canvas.bounding_box()
    assert real
    assert real["width"] == machine.canvas.evaluate("canvas => canvas.width")

    page.get_by_role("button", name="Full screen").click()
    wait_for("it fills the display", lambda: page.evaluate("document.fullscreenElement?.id") == "console")
    page.get_by_role("button", name="Full screen").click()
    wait_for("it is back in the page", lambda: page.evaluate("document.fullscreenElement") is None)

    machine.canvas.click()
    page.keyboard.press("Control+Shift+F10")
    expect(page.get_by_role("button", name="Ctrl-Alt-Del")).to_be_focused()


def test_a_page_whose_scripts_were_dropped_on_the_way_is_loaded_again(at_a_prompt: MachinePage) -> None:
    page = at_a_prompt.page
    page.context.route("**/rfb.js", lambda route: route.abort("connectionaborted"), times=1)
    page.goto(page.url)
    at_a_prompt.has_screen()


def test_on_a_phone_the_keys_that_it_has_not_are_buttons(site: Site, tmp_path: Path) -> None:
    disc = tmp_path / "prompt.iso"
    prompt_disc(disc)
    with context_of(site.browser, PHONE) as phone:
        page = phone.new_page()
        Door(page).sign_in(site.name, site.password)
        expect(page.get_by_role("heading", name="Machines", exact=True)).to_be_visible()
        machine = _machine(page, disc)
        qmp = site.machine(machine.machine_id).qmp_socket
        wait_for("the loader asks", lambda: "boot:" in text_of(qmp), seconds=30)
        before = text_of(qmp).count("boot:")
        page.get_by_role("button", name="Enter", exact=True).click()
        wait_for(
            "it was told to go on, and asks again", lambda: text_of(qmp).count("boot:") > before, seconds=20
        )


def test_a_machine_that_shuts_down_and_restarts_by_itself_is_followed_without_reloading(
    site: Site, page: Page
) -> None:
    machine = _machine(page, guest_disc("neighbour", outside="203.0.113.2"))
    log = site.machine(machine.machine_id).console_log
    expect(page.get_by_text("in use by the machine")).to_be_visible(timeout=60_000)
    _is_up(log, times=1)
    page.evaluate("window.wasNotReloaded = true")

    machine.press("Restart")
    machine.has_status("Restarting")
    machine.has_status("Running")
    machine.has_screen()
    _is_up(log, times=2)

    machine.press("Shut down")
    machine.has_status("Off")
    expect(page.locator("[data-console-status]")).to_have_text(re.compile("The machine is off"))
    machine.press("Start")
    machine.has_screen()
    machine.has_status("Running")
    assert page.locator(".history li").count() == 4


def test_the_console_comes_back_after_the_site_was_gone(site: Site, at_a_prompt: MachinePage) -> None:
    web, _account = site.launcher.children()["web"]
    os.kill(web, signal.SIGKILL)
    expect(at_a_prompt.page.locator("#console")).to_have_attribute("data-connected", "no", timeout=20_000)
    at_a_prompt.has_screen()


def _machine(page: Page, disc: Path) -> MachinePage:
    library = Library(page)
    library.open()
    library.upload(disc)
    expect(library.row(disc.stem).first).to_be_visible(timeout=60_000)
    page.goto("/machines/new/")
    form = NewMachine(page)
    label = page.locator("#id_disc option").filter(has_text=disc.stem).first.inner_text()
    form.fill(name=f"box {next(_numbers)}", disc=label)
    form.custom(cpus="1", memory_gib="0.25")
    form.create()
    machine = MachinePage(page)
    machine.has_status("Running")
    machine.has_screen()
    return machine


def _is_up(log: Path, *, times: int) -> None:
    wait_for("the guest is up", lambda: log.read_text().count("OFFSHOOT ready") == times, seconds=60)
