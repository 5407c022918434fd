"""The bars of a quota and the pages of asking, on a desk and on a phone; the bars count on as a form is filled in.

With OFFSHOOT_SCREENSHOTS=<folder> each page is kept there as a picture.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from portal.accounts.models import User
from portal.classes.lists import Wanted
from portal.classes.making import class_make
from portal.classes.models import Class
from portal.figures import services as figures
from portal.flavours.models import Flavour
from portal.leases.services import lease_grant, schedule_set
from portal.machines import services
from portal.machines.models import Machine
from portal.quotas.amounts import Limits
from portal.quotas.services import quota_set
from portal.requests.deciding import request_ask_back
from portal.requests.services import machine_ask, quota_ask
from portal.requests.wishes import LargerQuota
from portal.teams.models import Membership, Team
from tests.browser.chromium import DESKTOP, PHONE, Witness, accessibility_faults, is_wider_than_its_window
from tests.web import people
from tests.web.people import signed_in
from tests.web.site import Site
from tests.web.test_copies import publish
from tests.web.test_network_looks import _keep, served, window
from workers.contract.figures import SAMPLE_SECONDS, HostTotals, Samples
from workers.contract.messages import Observed
from workers.contract.spec import GIB

__all__ = ["served"]


@pytest.fixture
def addresses(site: Site, ann: User, ben: User, boss: User) -> dict[str, dict[str, str]]:
    """Ann has two of three machines and has asked for more; the address of each page, by who looks."""
    people.host_heard("rack-1")
    machine = people.done(people.machine_of(ann, "web-server"))
    course = _class(people.done(people.machine_of(ann, "database")), ben, boss)
    renewable = course.members.get().machine_id
    limits = Limits(
        machines=3, running=3, cpus=4, memory_mib=4096, disk_bytes=60 * GIB, snapshots=5, published_ports=4
    )
    quota_set(of=ann, limits=limits)
    team = Team.objects.create(name="bioinformatics")
    Membership.objects.create(team=team, user=ann)
    quota_set(of=team, limits=Limits(machines=4, cpus=1, disk_bytes=100 * GIB))
    Flavour.objects.filter(key="large").update(needs_approval=True)
    amy = User.objects.create_user("amy", password=people.PASSWORD, approves=True)
    big = people.wish("gpu-training", cpus=8, memory_mib=16384, disk_bytes=200 * GIB)
    first = machine_ask(by=ann, wish=big, reason="We train a model for the course of Mondays.", until=None)
    request_ask_back(request=first, by=amy, question="For how many people?")
    second = machine_ask(by=ann, wish=people.wish("render", cpus=4), reason="Rendering a film.", until=None)
    quota_set(of=ben, limits=limits)
    quota_ask(by=ben, wanted=LargerQuota(machines=40), reason="A class of thirty.")
    lease_grant(machine=machine, until=timezone.now().date() + timedelta(days=10), by=amy)
    schedule_set(machine=machine, weekdays=range(5), from_hour=8, to_hour=18, by=ann)
    own = f"/machines/{machine.pk}"
    return {
        "ann": {
            "end-date": f"{own}/",
            "new-machine": "/machines/new/", "template": f"/templates/{course.template_id}/",
            "hardware": f"{own}/hardware/", "snapshots": f"{own}/snapshots/",
            "ports": f"{own}/network/", "copies": f"{own}/copies/", "requests": "/requests/",
            "ask-quota": "/requests/quota/", "request-own": f"/requests/{first.pk}/",
        },
        "boss": {
            "requests-waiting": "/requests/", "request": f"/requests/{second.pk}/", "quotas": "/settings/quotas/",
            "quota": f"/settings/quotas/people/{ann.pk}/", "sizes": "/settings/sizes/",
            "size": "/settings/sizes/new/", "rules": "/settings/rules/",
            "overview": "/overview/", "class": f"/classes/{course.pk}/", "renew": f"/machines/{renewable}/copies/",
            "end-dates": "/settings/leases/", "end-date-administrator": f"{own}/",
        },
    }  # fmt: skip


def _class(machine: Machine, pupil: User, boss: User) -> Class:
    """A class of one, from a template of this machine; and an hour of its host's figures."""
    services.machine_force_off(machine=machine, by=machine.owner)
    template = publish(people.done(machine, Observed.OFF), "course")
    made = class_make(
        name="Physics, first year", template=template, team=None, network=None, start=False, by=boss,
        wanted=[Wanted(pupil, "ben-physics")],
    )  # fmt: skip
    now = int(time.time())
    for ago in range(0, 3600, 300):
        at = now - now % SAMPLE_SECONDS - 3600 + ago
        totals = HostTotals(cpu_own_percent=20 + ago / 60, memory_bytes=2e10)
        figures.samples_take(
            Samples(host=machine.host.name, at=at, sequence=people.later(), totals=totals, machines=()),
            now=at + 1,
        )
    return made


@pytest.fixture
def sessions(boss: User, ann: User) -> dict[str, str]:
    return {user.get_username(): signed_in(user).cookies["sessionid"].value for user in (boss, ann)}


@pytest.fixture
def chrome(addresses: dict[str, dict[str, str]], sessions: dict[str, str]) -> Iterator[Browser]:
    """Started after all rows are there: with its event loop in this thread Django makes none."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
            chromium_sandbox=False,
        )
        yield browser
        browser.close()


def test_the_pages_of_asking_fit_their_window_and_the_bars_count_on_with_the_form(
    site: Site, addresses: dict[str, dict[str, str]], sessions: dict[str, str], chrome: Browser
) -> None:
    for size in (DESKTOP, PHONE):
        for user, pages in addresses.items():
            context = window(chrome, site, sessions[user], size)
            page = context.new_page()
            witness = Witness(page)
            for name, address in pages.items():
                page.goto(address)
                expect(page.get_by_role("heading", level=1)).to_be_visible()
                _keep(page, name + ("-phone" if size == PHONE else ""))
                assert not is_wider_than_its_window(page), name
                assert accessibility_faults(page) == [], name
            if user == "ann" and size == DESKTOP:
                fills_in_the_wizard(page)
            assert witness.complaints == []
            context.close()


def test_the_bars_follow_the_choice_of_whose_the_machine_shall_be(
    site: Site, addresses: dict[str, dict[str, str]], sessions: dict[str, str], chrome: Browser
) -> None:
    for size, form in ((DESKTOP, "new-machine"), (PHONE, "new-machine"), (DESKTOP, "template")):
        context = window(chrome, site, sessions["ann"], size)
        page = context.new_page()
        witness = Witness(page)
        page.goto(addresses["ann"][form])
        is_hers(page)
        chooses(page, "The team “bioinformatics”")
        is_the_teams(page)
        page.locator(".tile").filter(has_text="Medium").click()
        expect(bar(page, "cpus")).to_contain_text("0 of 1, afterwards 2")
        has_to_ask(page)
        _keep(page, f"{form}-of-a-team" + ("-phone" if size == PHONE else ""))
        assert not is_wider_than_its_window(page)
        assert accessibility_faults(page) == []
        chooses(page, "Me alone")
        expect(bar(page, "cpus")).to_contain_text("2 of 4, afterwards 4")
        is_made_at_once(page)
        if form == "new-machine":
            page.get_by_label("Disk", exact=True).fill("50")
            expect(bar(page, "disk_bytes")).to_contain_text("20 GB of 60 GB, afterwards 70 GB")
            has_to_ask(page)
            page.locator(".tile").filter(has_text="Small").click()
            chooses(page, "The team “bioinformatics”")
            expect(bar(page, "disk_bytes")).to_contain_text("0 GB of 100 GB, afterwards 50 GB")
            is_made_at_once(page)
        assert witness.complaints == []
        context.close()


def chooses(page: Page, whose: str) -> None:
    page.get_by_label("Belongs to").select_option(label=whose)


def is_hers(page: Page) -> None:
    """Her own bars alone, and there is room."""
    expect(bar(page, "machines")).to_contain_text("2 of 3, afterwards 3")
    expect(bar(page, "memory_mib")).to_be_visible()
    expect(page.get_by_text("The quota of the team")).to_be_hidden()
    is_made_at_once(page)


def is_the_teams(page: Page) -> None:
    """The team's alone, which has no limit of memory, and there is room."""
    expect(bar(page, "machines")).to_contain_text("0 of 4, afterwards 1")
    expect(bar(page, "memory_mib")).to_have_count(0)
    expect(page.get_by_text("The quota of the team “bioinformatics”")).to_be_visible()
    is_made_at_once(page)


def has_to_ask(page: Page) -> None:
    expect(page.get_by_label("What do you need it for?")).to_be_visible()
    expect(page.get_by_role("button", name="Ask for it")).to_be_visible()


def is_made_at_once(page: Page) -> None:
    expect(page.get_by_label("What do you need it for?")).to_be_hidden()
    expect(page.get_by_role("button", name="Create")).to_be_visible()


def bar(page: Page, field: str) -> Locator:
    """The bar that is seen: those of other accounts are in the page too."""
    return page.locator(f"[data-field={field}]:visible")


def fills_in_the_wizard(page: Page) -> None:
    """Ann chooses, and sees what there would be."""
    page.goto("/machines/new/")
    cpus = bar(page, "cpus")
    ask = page.get_by_label("What do you need it for?")
    expect(bar(page, "machines")).to_contain_text("2 of 3, afterwards 3")
    expect(cpus).to_contain_text("2 of 4, afterwards 3")
    expect(ask).to_be_hidden()
    page.locator(".tile").filter(has_text="Custom").click()
    page.get_by_label("Processors").fill("3")
    expect(cpus).to_contain_text("afterwards 5")
    expect(ask).to_be_visible()
    expect(page.get_by_role("button", name="Ask for it")).to_be_visible()
    page.get_by_label("Processors").fill("2")
    expect(ask).to_be_hidden()
    expect(page.get_by_role("button", name="Create")).to_be_visible()
    page.get_by_label("Memory (GB)").fill("2.25")  # into no size that is free
    expect(ask).to_be_visible()
    page.locator(".tile").filter(has_text="Large").click()
    page.get_by_label("Name").fill("large-one")
    ask.fill("A course.")
    page.get_by_label("Until when").fill("2030-01-31")
    _keep(page, "wizard-asks")
    page.get_by_role("button", name="Ask for it").click()
    expect(page.get_by_text("waits for a decision")).to_be_visible()
    page.goto("/machines/")
    page.get_by_role("link", name="web-server").first.click()
    page.get_by_role("link", name="Hardware").click()
    ask = page.locator("#size_form-ask")
    expect(ask).to_be_hidden()
    page.get_by_label("Processors").fill("4")
    expect(page.locator("[data-field=cpus]")).to_contain_text("2 of 4, afterwards 5")
    expect(ask).to_be_visible()
    expect(page.locator("#disk_form-ask")).to_be_hidden()
    _keep(page, "hardware-asks")
    page.get_by_label("Size (GB)", exact=True).fill("50")
    expect(page.locator("[data-field=cpus]")).not_to_contain_text("afterwards 5")
    expect(page.locator("[data-field=disk_bytes]")).to_contain_text("20 GB of 60 GB, afterwards 70 GB")
    page.get_by_label("Processors").fill("4")
    ask.get_by_label("What do you need it for?").fill("It is slow.")
    page.locator("form").filter(has=ask).get_by_role("button", name="Ask for it").click()
    expect(page.get_by_text("waits for a decision")).to_be_visible()
    page.get_by_role("link", name="web-server").click()
    page.get_by_role("link", name="Hardware").click()
    expect(
        page.get_by_text("You have asked for this already: 4 processors instead of 1 processor")
    ).to_be_visible()
