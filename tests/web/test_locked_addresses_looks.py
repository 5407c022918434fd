"""The lock of a card in a bridged network on a desk and on a phone, and how an administrator sets it there.

With OFFSHOOT_SCREENSHOTS=<folder> each page is kept there as a picture.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from playwright.sync_api import Browser, Page, expect

from portal.accounts.models import User
from portal.machines import address_locks, hardware
from portal.machines.models import Machine
from portal.networks import changing, uplinks
from portal.networks.changing import NetworkWish
from portal.networks.models import Network
from tests.browser.chromium import DESKTOP, PHONE, Witness, accessibility_faults, is_wider_than_its_window
from tests.web import people
from tests.web.site import Site
from tests.web.test_network_looks import CARDS, _keep, chrome, served, sessions, window  # noqa: F401  fixtures
from workers.contract.networks import NetworkKind
from workers.contract.spec import NicModel

LONG = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:1"


@pytest.fixture
def machine(site: Site, boss: User, ann: User) -> Machine:
    """Ann's, behind its host and with two cards in the organisation's network, one of them locked."""
    people.host_heard("rack-1", interfaces=CARDS)
    machine = people.done(people.machine_of(ann, "web-server"))
    changing.network_create(wish=NetworkWish("office", NetworkKind.BRIDGED), by=boss)
    office = Network.objects.get(name="office")
    uplinks.uplink_set(network=office, host=machine.host, bridge="br0", by=boss)
    for _ in range(2):
        hardware.card_add(machine=machine, network=office, model=NicModel.VIRTIO, by=ann)
        people.done(machine)
    card = machine.nics.filter(network=office)[0]
    address_locks.card_lock(
        machine=machine,
        nic_id=card.pk,
        address=IPv4Address("203.0.113.50"),
        address6=IPv6Address(LONG),
        by=boss,
    )
    return people.done(machine)


@pytest.fixture
def addresses(machine: Machine) -> dict[str, str]:
    """For the fixture of the sessions: made after everything else."""
    return {each: f"/machines/{machine.pk}/{each}" for each in ("", "network/", "hardware/")}


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_an_administrator_locks_a_card_and_its_owner_reads_of_it(
    site: Site,
    addresses: dict[str, str],
    sessions: dict[str, str],  # noqa: F811
    chrome: Browser,  # noqa: F811
    size: tuple[int, int],
) -> None:
    ending = "-phone" if size == PHONE else ""
    context = window(chrome, site, sessions["boss"], size)
    page = context.new_page()
    witness = Witness(page)
    page.goto(addresses["network/"])
    card = page.locator(".network-nic").filter(has_text="Card 3")
    expect(card.get_by_text("May use any address")).to_be_visible()
    card.get_by_text("Lock to an address").click()
    page.locator(".network-nic").filter(has_text="Card 2").get_by_text("Change or remove the lock").click()
    looks_well(page, f"lock-form{ending}")
    card.get_by_label("IPv4 address").fill("203.0.113.50")
    card.get_by_label("IPv6 address").fill("ff02::1")
    card.get_by_role("button", name="Lock", exact=True).click()
    expect(card.get_by_text("That is a group's address (multicast)")).to_be_visible()
    looks_well(page, f"lock-refused{ending}")
    card.get_by_label("IPv6 address").fill("")
    card.get_by_role("button", name="Lock", exact=True).click()
    expect(card.get_by_text("is locked to this address already")).to_be_visible()
    card.get_by_label("IPv4 address").fill("203.0.113.51")
    card.get_by_role("button", name="Lock", exact=True).click()
    expect(card.get_by_text("May use the address 203.0.113.51 alone, and any IPv6 address")).to_be_visible()
    looks_well(page, f"locked{ending}")
    page.goto(addresses[""])
    looks_well(page, f"locked-machine{ending}")
    assert witness.complaints == []
    context.close()

    context = window(chrome, site, sessions["ann"], size)
    page = context.new_page()
    page.goto(addresses["network/"])
    expect(page.get_by_text("May use the address 203.0.113.51 alone")).to_be_visible()
    expect(page.get_by_text("the lock")).to_have_count(0)
    looks_well(page, f"locked-of-its-owner{ending}")
    context.close()


def test_what_an_administrator_types_stays_while_the_page_changes_below_it(
    site: Site,
    addresses: dict[str, str],
    sessions: dict[str, str],  # noqa: F811
    chrome: Browser,  # noqa: F811
) -> None:
    context = window(chrome, site, sessions["boss"])
    typing, other = context.new_page(), context.new_page()
    typing.goto(addresses["network/"])
    card = typing.locator(".network-nic").filter(has_text="Card 3")
    card.get_by_text("Lock to an address").click()
    card.get_by_label("IPv4 address").fill("203.0.113.5")
    other.goto(addresses["network/"])
    locked = other.locator(".network-nic").filter(has_text="Card 2")
    locked.get_by_text("Change or remove the lock").click()
    locked.get_by_role("button", name="Remove the lock").click()
    expect(locked.get_by_text("May use any address")).to_be_visible()
    seen = typing.locator(".network-nic").filter(has_text="Card 2")
    expect(seen.get_by_text("May use any address")).to_be_visible(timeout=20_000)
    expect(card.get_by_label("IPv4 address")).to_have_value("203.0.113.5")
    expect(card.get_by_label("IPv4 address")).to_be_visible()
    context.close()


def looks_well(page: Page, name: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    _keep(page, name)
    assert not is_wider_than_its_window(page), name
    assert accessibility_faults(page) == [], name
