"""The pages of teams and of sharing on a desk and on a phone, each as who owns, who only looks and who audits sees it.

With OFFSHOOT_SCREENSHOTS=<folder> each page is kept there as a picture.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from portal.accounts.models import User
from portal.hooks.services import HookWish, hook_create
from portal.rights import handing_over, sharing
from portal.rights.levels import Level
from portal.teams import services as teams
from portal.teams.models import Role
from tests.browser.chromium import DESKTOP, PHONE, Witness, accessibility_faults, is_wider_than_its_window
from tests.web import people
from tests.web.site import Site
from tests.web.test_network_looks import _keep, chrome, served, window  # noqa: F401  fixtures

OWNS, LOOKS, AUDITS, RECEIVES = "ann", "ben", "eve", "carl"


@pytest.fixture
def addresses(site: Site, ann: User, ben: User, boss: User) -> dict[str, tuple[str, str]]:
    """Who looks at which page."""
    people.host_heard("rack-1")
    carl = User.objects.create_user("carl")
    User.objects.create_user("eve", audits=True)
    team = teams.team_create(
        name="physics", description="The laboratory on the second floor", owner=ann, by=boss
    )
    teams.member_add(team=team, user=ben, role=Role.VIEWER, by=ann)
    machine = people.done(people.machine_of(ann, "web-server"))
    sharing.share_set(machine=machine, to=ben, level=Level.VIEW_CONSOLE, by=ann)
    sharing.share_set(machine=machine, to=team, level=Level.OPERATE, by=ann)
    handing_over.offer_make(machine=machine, to=carl, by=ann)
    offer = machine.offer
    hook = hook_create(wish=HookWish("chat", "https://chat.example.org/x", ("machine_ended",)), by=boss)
    its = f"/machines/{machine.pk}/"
    return {
        "sharing": (OWNS, f"{its}sharing/"),
        "teams": (OWNS, "/teams/"),
        "team": (OWNS, f"/teams/{team.pk}/"),
        "new-machine-of-a-team": (OWNS, "/machines/new/"),
        "machine-only-looked-at": (LOOKS, its),
        "hardware-only-looked-at": (LOOKS, f"{its}hardware/"),
        "network-only-looked-at": (LOOKS, f"{its}network/"),
        "sharing-only-looked-at": (LOOKS, f"{its}sharing/"),
        "team-of-a-viewer": (LOOKS, f"/teams/{team.pk}/"),
        "shared-list": (LOOKS, "/machines/"),
        "offered-list": (RECEIVES, "/machines/"),
        "offer": (RECEIVES, f"/machines/offers/{offer.pk}/"),
        "larger-quota-of-a-team": (OWNS, f"/requests/quota/?team={team.pk}"),
        "machine-audited": (AUDITS, its),
        "quotas-audited": (AUDITS, "/settings/quotas/"),
        "quota-audited": (AUDITS, f"/settings/quotas/people/{ann.pk}/"),
        "sizes-audited": (AUDITS, "/settings/sizes/"),
        "rules-audited": (AUDITS, "/settings/rules/"),
        "end-dates-audited": (AUDITS, "/settings/leases/"),
        "hook-audited": (AUDITS, f"/hooks/{hook.pk}/"),
    }


@pytest.fixture
def sessions(addresses: dict[str, tuple[str, str]]) -> dict[str, str]:
    """Made before the browser is there: with its event loop in this thread Django makes no rows."""
    return {
        name: people.signed_in(User.objects.get(username=name)).cookies["sessionid"].value
        for name in (OWNS, LOOKS, AUDITS, RECEIVES)
    }


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_pages_of_sharing_fit_their_window_and_are_free_of_faults(
    site: Site,
    addresses: dict[str, tuple[str, str]],
    sessions: dict[str, str],
    chrome: Browser,  # noqa: F811
    size: tuple[int, int],
) -> None:
    for user in (OWNS, LOOKS, AUDITS, RECEIVES):
        context = window(chrome, site, sessions[user], size)
        page = context.new_page()
        witness = Witness(page)
        for name, (reader, address) in addresses.items():
            if reader != user:
                continue
            page.goto(address)
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            if name == "machine-only-looked-at":
                expect(page.get_by_text("You can only look").first).to_be_visible()
                expect(page.get_by_role("button", name="Ctrl-Alt-Del")).to_be_hidden()
            _keep(page, name + ("-phone" if size == PHONE else ""))
            assert not is_wider_than_its_window(page), name
            assert accessibility_faults(page) == [], name
        assert [each for each in witness.complaints if "/ticket/" not in each] == []
        context.close()
