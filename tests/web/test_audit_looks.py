"""The pages of the activity, notices, web hooks and of who acts as somebody else, on a desk and on a phone.

With OFFSHOOT_SCREENSHOTS=<folder> each page is kept there as a picture.
"""

from __future__ import annotations

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, expect

from portal.accounts.models import User
from portal.audit.actions import Action, ObjectKind, Result
from portal.audit.origin import Origin, Person
from portal.audit.services import record
from portal.hooks import services as hooks
from portal.hooks.models import Delivery
from portal.hooks.services import HookWish
from portal.notices.services import tell
from tests.browser.chromium import DESKTOP, PHONE, Witness, accessibility_faults, is_wider_than_its_window
from tests.web import people
from tests.web.site import Site
from tests.web.test_network_looks import _keep, chrome, served, window

__all__ = ["chrome", "served"]  # fixtures


@pytest.fixture
def addresses(site: Site, ann: User, boss: User) -> dict[str, str]:
    """A site on which something has happened; the address of each page."""
    people.host_heard()
    machine = people.done(people.machine_of(ann, "web-server"))
    here = Origin("192.0.2.7", "ab" * 8)
    image = (ObjectKind.IMAGE, "1", "debian-13.1.0-amd64-netinst with a name as people give them.iso")
    record(Action.IMAGE_ADDED, by=ann, about=image, origin=here, details={"bytes": 4096})
    record(
        Action.SIGN_IN_FAILED, origin=Origin("2001:db8:1234:5678:9abc:def0:1234:5678"), result=Result.FAILED
    )
    behind = Origin("192.0.2.9", "cd" * 8, Person(boss.pk, "boss"))
    record(
        Action.FIREWALL_CHANGED, by=ann, about=(ObjectKind.MACHINE, machine.pk, machine.name), origin=behind
    )
    for kind in ("machine_ended", "host_disk_full", "download_done"):
        tell([ann, boss], kind, link="/machines/", machine="web-server", host="rack-1", name="Debian 13")
    hook = hooks.hook_create(
        wish=HookWish(
            "chat", "https://chat.example.org/hooks/a-rather-long-path/0123456789abcdef", ("machine_crashed",)
        ),
        by=boss,
    )
    Delivery.objects.create(
        hook=hook, kind="machine_crashed", body="{}", status=200, tries=1, done_at=timezone.now()
    )
    Delivery.objects.create(
        hook=hook, kind="machine_crashed", body="{}", status=500, tries=2, problem="it answered 500"
    )
    return {
        "activity": "/activity/", "activity-of-a-person": f"/activity/people/{ann.pk}/",
        "activity-of-a-machine": f"/machines/{machine.pk}/activity/", "notices": "/notices/",
        "notice-choices": "/notices/choices/", "hooks": "/hooks/", "hook": f"/hooks/{hook.pk}/", "new-hook": "/hooks/new/",
    }  # fmt: skip


@pytest.fixture
def sessions(boss: User, ann: User) -> dict[str, str]:
    acting = people.signed_in(boss)
    acting.post(f"/people/{ann.pk}/impersonate/", {"reason": "she cannot find her machine"})
    return {
        "boss": people.signed_in(boss).cookies["sessionid"].value,
        "acting": acting.cookies["sessionid"].value,
    }


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_pages_fit_their_window_and_are_free_of_faults(
    site: Site, addresses: dict[str, str], sessions: dict[str, str], chrome: Browser, size: tuple[int, int]
) -> None:
    for user, names in (("boss", list(addresses)), ("acting", ["notices"])):
        context = window(chrome, site, sessions[user], size)
        page = context.new_page()
        witness = Witness(page)
        for name in names:
            page.goto(addresses[name])
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            _keep(page, f"{name}{'-acting' if user == 'acting' else ''}{'-phone' if size == PHONE else ''}")
            assert not is_wider_than_its_window(page), name
            assert accessibility_faults(page) == [], name
        assert witness.complaints == []
        context.close()
