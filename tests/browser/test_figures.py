"""Live charts of a real machine and of its host, on a desk and on a phone.

With OFFSHOOT_SCREENSHOTS=<folder> each is kept there as a picture.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.chromium import (
    DESKTOP,
    PHONE,
    Witness,
    accessibility_faults,
    context_of,
    is_wider_than_its_window,
)
from tests.browser.conftest import Site
from tests.browser.pages import Door, MachinePage, NewMachine
from tests.lab.waiting import wait_for

_ANY = re.compile(".")
_INK = """(canvas) => {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let ink = 0;
    for (let at = 0; at < pixels.length; at += 4)
        if (pixels[at + 3] > 0 && Math.abs(pixels[at] - 15) < 30 && Math.abs(pixels[at + 1] - 118) < 30) ink += 1;
    return ink;
}"""
"""How many pixels have the colour of a first line."""


@pytest.fixture(scope="module")
def machine(site: Site) -> str:
    """The address of a machine that runs, and has been sampled."""
    with context_of(site.browser) as context:
        page = context.new_page()
        Door(page).sign_in(site.name, site.password)
        page.goto("/machines/new/")
        NewMachine(page).fill(name="web-server")
        NewMachine(page).create()
        MachinePage(page).has_status("Running")
        address = page.url
        page.goto(f"{address}figures/")
        expect(_said(page, "cpu_own_percent", "now")).to_contain_text("%", timeout=60_000)
        return address


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_charts_are_drawn_go_on_by_themselves_and_say_their_figures_in_words(
    site: Site, machine: str, size: tuple[int, int]
) -> None:
    page, witness = _signed_in(site.browser, site, size)
    page.goto(f"{machine}figures/")
    box = page.locator("#figures")
    expect(box).to_have_attribute("data-drawn", _ANY, timeout=30_000)
    first = box.get_attribute("data-drawn")
    expect(box.locator("canvas")).to_have_count(6)
    for chart in ("cpu", "memory"):
        _is_drawn(page, chart)
    expect(_said(page, "cpu_own_percent", "peak")).to_contain_text("%")
    expect(_said(page, "memory_bytes", "now")).to_contain_text("B")
    expect(box).not_to_have_attribute("data-drawn", str(first), timeout=30_000)
    _is_sound(page, f"figures{'-phone' if size == PHONE else ''}")
    for label in ("24 hours", "30 days"):
        page.get_by_role("link", name=label).click()
        expect(page.get_by_role("link", name=label)).to_have_attribute("aria-current", "true")
        expect(box).to_have_attribute("data-drawn", _ANY)
    page.goto("/machines/")
    expect(page.locator(".now-cell").first).to_contain_text("%", timeout=30_000)
    picture = page.locator(".screen-thumb").first
    expect(picture).to_be_visible(timeout=90_000)
    page.wait_for_function("() => document.querySelector('.screen-thumb').naturalWidth > 0")
    _is_sound(page, f"machines-with-figures{'-phone' if size == PHONE else ''}")
    page.goto("/hosts/")
    page.locator(".host-card").first.click()
    expect(box).to_have_attribute("data-drawn", _ANY)
    _is_drawn(page, "cpu")
    _is_sound(page, f"host-figures{'-phone' if size == PHONE else ''}")
    assert witness.complaints == []
    page.context.close()


@pytest.mark.parametrize("place", ["figures/", ""], ids=["charts", "picture"])
def test_a_page_that_nobody_looks_at_asks_for_no_figures_and_no_picture(
    site: Site, machine: str, place: str
) -> None:
    page, _ = _signed_in(site.browser, site, DESKTOP)
    page.add_init_script("Object.defineProperty(document, 'hidden', { get: () => window.isHidden ?? false })")
    page.clock.install()
    asked: list[str] = []

    def heard(frame: str | bytes) -> None:
        if '"screens"' in str(frame):
            asked.append(str(frame))

    page.on("request", lambda request: asked.append(request.url) if "/figures/data/" in request.url else None)
    page.on("websocket", lambda socket: socket.on("framesent", heard))
    page.goto(f"{machine}{place}" if place else "/machines/")
    wait_for("it asks", lambda: bool(page.evaluate("1")) and bool(asked), seconds=90)
    if place:
        expect(page.locator("#figures")).to_have_attribute("data-drawn", _ANY)  # the first answer is there
    page.evaluate("window.isHidden = true")
    page.clock.run_for(1000)
    asked.clear()
    page.clock.run_for(5 * 60_000)
    page.evaluate(
        "fetch('/health/').then((answer) => answer.status)"
    )  # whatever was asked before it was heard of
    assert asked == []
    page.evaluate("window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")
    page.clock.run_for(2 * 60_000)
    wait_for("it asks again", lambda: bool(page.evaluate("1")) and bool(asked), seconds=30)
    page.context.close()


def _is_drawn(page: Page, chart: str) -> None:
    """Its line is there; that of a machine's first seconds is short, and grows."""
    canvas = page.locator(f"[data-chart={chart}] canvas")
    wait_for(f"ink on {chart}", lambda: canvas.evaluate(_INK) > 20, seconds=60, pause=0.5)


def _signed_in(browser: Browser, site: Site, size: tuple[int, int]) -> tuple[Page, Witness]:
    page = context_of(browser, size).new_page()
    witness = Witness(page)
    Door(page).sign_in(site.name, site.password)
    expect(page.get_by_role("heading", name="Machines", exact=True)).to_be_visible()
    return page, witness


def _said(page: Page, field: str, word: str) -> Locator:
    return page.locator(f"[data-line={field}] [data-word={word}]")


def _is_sound(page: Page, name: str) -> None:
    folder = os.environ.get("OFFSHOOT_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
    assert not is_wider_than_its_window(page)
    assert accessibility_faults(page) == []
