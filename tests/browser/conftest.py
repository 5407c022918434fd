"""An installation as `make run` gives it, with a browser beside it and, where a test wants it, a person signed in."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import Browser, Page, expect

from launch.demo_disc import demo_disc
from tests.browser.chromium import Witness, chromium, context_of
from tests.browser.pages import Door
from tests.lab.launcher import PASSWORD, Launcher, installation
from workers.plan.names import MachineFolder, StateFolder


@dataclass(frozen=True)
class Site:
    """What runs, who may sign in, and with what it is looked at."""

    launcher: Launcher
    browser: Browser
    name: str
    password: str
    folder: Path

    def machine(self, machine_id: str) -> MachineFolder:
        """Where a machine lies on the host."""
        return StateFolder(self.launcher.state / "host").machine(UUID(machine_id))


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Everything runs, for the tests of one file."""
    with installation(tables=True) as launcher, tempfile.TemporaryDirectory(prefix="ofs-browser-") as name:
        folder = Path(name)
        (folder / "backups").mkdir()
        shown = PASSWORD.search(launcher.start(OFFSHOOT_BACKUP_PLACES=f"main={folder / 'backups'}"))
        assert shown, launcher.words()
        with chromium(folder, launcher.network) as browser:
            yield Site(launcher, browser, shown[1], shown[2], folder)


@pytest.fixture(scope="session")
def installer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's real installer as a disc: what `make demo-disc` builds."""
    disc = tmp_path_factory.mktemp("disc") / "debian-installer.iso"
    demo_disc(disc)
    return disc


@pytest.fixture
def stranger(site: Site) -> Iterator[Page]:
    """A window in which nobody is signed in."""
    with context_of(site.browser) as context:
        page = context.new_page()
        witness = Witness(page)
        yield page
        assert witness.complaints == []


@pytest.fixture
def page(site: Site, stranger: Page) -> Page:
    """A window in which the administrator is signed in."""
    Door(stranger).sign_in(site.name, site.password)
    expect(stranger.get_by_role("heading", name="Machines", exact=True)).to_be_visible()
    return stranger
