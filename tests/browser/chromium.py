"""A real Chromium in the namespace of the installation that it looks at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.lab.launcher import LISTEN, ROOT
from tests.lab.network import HostNetwork

_ARGUMENTS = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
_EXPECTED = ("Failed to load resource", "Failed when connecting", "WebSocket connection to")
"""What a browser says of an answer of 4xx, noVNC of a screen that is not there yet, a browser of a server that is away."""

DESKTOP, PHONE = (1280, 800), (390, 844)


@contextmanager
def chromium(folder: Path, network: HostNetwork) -> Iterator[Browser]:
    """The browser; `folder` gets the wrapper that starts it inside the namespace, and its profile."""
    wrapper = folder / "chromium"
    wrapper.write_text(f'#!/bin/sh\nexec {" ".join(network.enter())} /usr/bin/chromium "$@"\n')
    wrapper.chmod(0o755)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(wrapper),
            args=list(_ARGUMENTS),
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
            chromium_sandbox=False,
        )
        try:
            yield browser
        finally:
            browser.close()


class Witness:
    """What a page complains of: errors of scripts, refusals of the Content-Security-Policy, answers of 500."""

    def __init__(self, page: Page) -> None:
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.on(
            "console",
            lambda said: (
                self.complaints.append(f"{page.url}: {said.text}")
                if said.type == "error" and not said.text.startswith(_EXPECTED)
                else None
            ),
        )
        page.on(
            "response",
            lambda answer: (
                self.complaints.append(f"{answer.status} {answer.url}") if answer.status >= 500 else None
            ),
        )


def context_of(browser: Browser, size: tuple[int, int] = DESKTOP) -> BrowserContext:
    """A browser window with no history."""
    context = browser.new_context(
        base_url=f"http://{LISTEN}",
        viewport={"width": size[0], "height": size[1]},
        has_touch=size == PHONE,
        permissions=["clipboard-read", "clipboard-write"],
    )
    context.set_default_timeout(20_000)
    return context


def accessibility_faults(page: Page) -> list[str]:
    """What axe-core finds wrong, by the rules of WCAG 2 A and AA."""
    page.evaluate((ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text())
    found = page.evaluate(
        "async () => (await axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']})).violations"
        ".map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(' ')).join(', ')}`)"
    )
    return [str(line) for line in found]


def is_wider_than_its_window(page: Page) -> bool:
    """A page that has to be pushed sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))
