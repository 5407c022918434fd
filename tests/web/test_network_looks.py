"""The pages of networks on a desk and on a phone, with hosts, bridges and rules that a single test host has not.

With OFFSHOOT_SCREENSHOTS=<folder> each page is kept there as a picture.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import override_settings
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from portal.accounts.models import User
from portal.machines import firewall_changes, hardware
from portal.machines.models import Machine
from portal.networks import changing, ports, uplinks
from portal.networks.changing import NetworkWish
from portal.networks.models import Network
from portal.networks.services import private_network
from tests.browser.chromium import DESKTOP, PHONE, Witness, accessibility_faults, is_wider_than_its_window
from tests.lab.folder import short_folder
from tests.web import people
from tests.web.people import interface, signed_in
from tests.web.site import Site
from workers.contract.networks import Direction, FirewallRule, NetworkKind, Protocol
from workers.contract.spec import NicModel

CARDS = (
    interface("enp1s0", bridge="br0"),
    interface("enp2s0", addresses=("192.0.2.7/24", "2001:db8:7::7/64")),
    interface("enp3s0", is_up=False),
    interface("br0", "enp1s0", addresses=("203.0.113.9/24",), has_default_route=True),
)
MADE = interface("ofsbr1", "enp4s0", is_ours=True, addresses=("198.51.100.4/24",))


@pytest.fixture(scope="module")
def served(django_db_setup: None) -> Iterator[Site]:
    """The portal as a process of its own, with its styles and scripts."""
    plain = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }
    with short_folder() as folder:
        static = folder / "static"
        with override_settings(STATIC_ROOT=static / settings.BUILD, STORAGES=plain):
            call_command("collectstatic", verbosity=0, interactive=False)
        with closing(Site(folder, static=static)) as site:
            yield site


@pytest.fixture
def addresses(site: Site, boss: User, ann: User) -> dict[str, str]:
    """A fleet in use; the address of each page."""
    people.host_heard("rack-1", interfaces=(*CARDS, MADE))
    silent = people.host_heard("rack-2", interfaces=CARDS[1:3], memory_free_mib=4000)
    machine = people.done(people.machine_of(ann, "web-server"))
    lab = NetworkWish("test lab", NetworkKind.ISOLATED, "10.9.0.0/24", "fd12:3456:789a:1::/64")
    for wish in (NetworkWish("office", NetworkKind.BRIDGED), lab):
        changing.network_create(wish=wish, by=boss)
    office, private = Network.objects.get(name="office"), private_network()
    uplinks.uplink_set(network=office, host=machine.host, bridge="br0", by=boss)
    changing.network_change_ipv6(network=private, subnet6="fd99:8877:6655:1::/64", routed=False, by=boss)
    people.done(machine)
    uplinks.bridge_make(host=silent, card="enp2s0", network=office, is_sure=True, by=boss)
    _in_use(machine, office)
    return {
        "networks": "/networks/", "networks-of-a-person": "/networks/", "new-network": "/networks/new/",
        "network": f"/networks/{private.pk}/", "network-bridged": f"/networks/{office.pk}/",
        "machine-network": f"/machines/{machine.pk}/network/", "host-bridges": "/hosts/rack-1/",
        "new-machine-networks": "/machines/new/", "machine-addresses": f"/machines/{machine.pk}/",
        "cards": f"/machines/{machine.pk}/hardware/",
    }  # fmt: skip


def _in_use(machine: Machine, office: Network) -> None:
    """Two cards, three ports, six rules."""
    owner, nic = machine.owner, machine.nics.get()
    hardware.card_add(machine=machine, network=office, model=NicModel.VIRTIO, by=owner)
    people.done(machine)
    for port, protocol in ((22, Protocol.TCP), (80, Protocol.TCP), (51820, Protocol.UDP)):
        ports.port_publish(
            machine=machine, nic_id=nic.pk, protocol=protocol, guest_port=port, host_port=None, by=owner
        )
        people.done(machine)
    rules = tuple(
        FirewallRule(
            direction=Direction.IN, allow=True, protocol=Protocol.TCP, first_port=first, last_port=last
        )
        for first, last in ((80, 80), (443, 443), (8000, 8100))
    )
    firewall_changes.rules_add(machine=machine, rules=rules, by=owner)
    people.done(machine)
    machine.nics.filter(network=office).update(leased_address="203.0.113.50")


@pytest.fixture
def sessions(boss: User, ann: User) -> dict[str, str]:
    return {user.get_username(): signed_in(user).cookies["sessionid"].value for user in (boss, ann)}


@pytest.fixture
def chrome(addresses: dict[str, str], sessions: dict[str, str]) -> Iterator[Browser]:
    """Started after all rows are there: with its event loop in this thread Django makes none."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
            chromium_sandbox=False,
        )
        yield browser
        browser.close()


def window(chrome: Browser, site: Site, session: str, size: tuple[int, int] = DESKTOP) -> BrowserContext:
    """A window in which the person of the session is signed in."""
    context = chrome.new_context(
        base_url=site.origin, viewport={"width": size[0], "height": size[1]}, has_touch=size == PHONE
    )
    context.add_cookies([{"name": "sessionid", "value": session, "url": site.origin}])
    return context


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_pages_of_networks_fit_their_window_and_are_free_of_faults(
    site: Site, addresses: dict[str, str], sessions: dict[str, str], chrome: Browser, size: tuple[int, int]
) -> None:
    a_persons = ["networks-of-a-person"]
    for user, names in (("ann", a_persons), ("boss", [name for name in addresses if name not in a_persons])):
        context = window(chrome, site, sessions[user], size)
        page = context.new_page()
        witness = Witness(page)
        for name in names:
            page.goto(addresses[name])
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            if name == "network-bridged":
                page.get_by_text("Make a bridge around a card").first.click()
            _keep(page, name + ("-phone" if size == PHONE else ""))
            assert not is_wider_than_its_window(page), name
            assert accessibility_faults(page) == [], name
        assert witness.complaints == []
        context.close()


def test_only_what_is_chosen_is_asked_for_and_a_person_publishes_a_port_by_hand(
    site: Site, addresses: dict[str, str], sessions: dict[str, str], chrome: Browser
) -> None:
    context = window(chrome, site, sessions["boss"])
    page = context.new_page()
    page.goto("/networks/new/")
    expect(page.get_by_label("Range of addresses", exact=True)).to_be_visible()
    expect(page.get_by_label("IPv6 range")).to_be_hidden()
    page.get_by_label("IPv6", exact=True).select_option("behind")
    expect(page.get_by_label("IPv6 range")).to_be_visible()
    page.locator(".tile").filter(has_text="On your own network").click()
    expect(page.get_by_label("Range of addresses", exact=True)).to_be_hidden()
    page.get_by_label("Name").fill("guests")
    page.get_by_role("button", name="Make the network").click()
    expect(page.get_by_text("Now connect the hosts to it")).to_be_visible()
    page.get_by_label("Bridge of rack-1").select_option("ofsbr1")
    page.get_by_role("button", name="Connect", exact=True).click()
    expect(page.get_by_text("connected by the bridge ofsbr1")).to_be_visible()

    page.goto(addresses["machine-network"])
    expect(page.get_by_label("Port of the machine")).to_be_hidden()
    page.get_by_label("What is to be reached?").select_option("own")
    page.get_by_label("Port of the machine").fill("8080")
    page.get_by_role("button", name="Publish", exact=True).click()
    expect(page.get_by_text("is reached at 203.0.113.9:20002")).to_be_visible()
    page.get_by_label("With what").select_option("ping")
    page.get_by_label("Do what").select_option("block")
    page.get_by_label("From or to whom").fill("198.51.100.0/24")
    page.get_by_role("button", name="Add the rule").click()
    expect(page.get_by_text("Block ping from 198.51.100.0/24", exact=True)).to_be_visible()
    context.close()


def _keep(page: Page, name: str) -> None:
    folder = os.environ.get("OFFSHOOT_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
