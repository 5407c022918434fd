"""Networks as administrators manage them: made, checked, renamed, changed and deleted, with wishes for the machines in them."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.backups.services import backup_take
from portal.fleet.models import Host
from portal.machines import hardware
from portal.machines.models import Machine
from portal.networks import changing
from portal.networks.changing import NetworkWish
from portal.networks.models import Network
from portal.networks.ranges import free_subnet, subnet_from
from portal.networks.services import private_network
from portal.refusal import Refused
from tests.web import people
from tests.web.people import signed_in
from workers.contract.host import PlaceFacts
from workers.contract.messages import ApplyMachine, Observed
from workers.contract.networks import NetworkKind
from workers.contract.spec import MachineSpec, NicModel
from workers.contract.version import from_wire

MARKUP = "<script>alert(1)</script>"


def asked(operation: Operation) -> MachineSpec:
    """What the host is asked to make of the machine."""
    return from_wire(ApplyMachine, operation.message).spec


def made(boss: User, name: str = "lab", **fields: Any) -> Network:
    wish = {"kind": NetworkKind.ISOLATED, "subnet": "10.9.0.0/24"} | fields
    return changing.network_create(wish=NetworkWish(name=name, **wish), by=boss)


def plug(machine: Machine, network: Network) -> None:
    """A card of the machine in it, and its host has done it."""
    hardware.card_add(machine=machine, network=network, model=NicModel.VIRTIO, by=machine.owner)
    people.done(machine)


@pytest.fixture
def browser(boss: User) -> Client:
    return signed_in(boss)


def test_an_administrator_makes_a_network_of_each_kind(browser: Client, rack: Host) -> None:
    proposed = browser.get("/networks/new/").content.decode()
    assert 'value="192.168.58.0/24"' in proposed  # the first network has 57
    assert 'value="fd' in proposed
    for kind, fields in (
        ("nat", {"subnet": "192.168.58.0/24", "ipv6": "routed", "subnet6": "2001:db8:1:2::/64"}),
        ("isolated", {"subnet": "10.9.0.0/24", "ipv6": "behind", "subnet6": "fd12:3456:789a:1::/64"}),
        ("bridged", {"subnet": "ignored", "ipv6": "no"}),
    ):
        answer = browser.post("/networks/new/", {"name": f"my {kind}", "kind": kind, **fields})
        assert answer.status_code == 302, kind
    rows = {row.kind: row for row in Network.objects.exclude(is_default=True)}
    assert (rows["nat"].subnet6, rows["nat"].routed6) == ("2001:db8:1:2::/64", True)
    assert (rows["isolated"].subnet6, rows["isolated"].routed6) == ("fd12:3456:789a:1::/64", False)
    assert (rows["bridged"].subnet, rows["bridged"].subnet6) == ("", "")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"subnet": "0.0.0.0/0"}, "a size from /16"),
        ({"subnet": "10.0.0.0/15"}, "a size from /16"),
        ({"subnet": "10.0.0.0/30"}, "a size from /16"),
        ({"subnet": "8.8.8.0/24"}, "belongs to somebody"),
        ({"subnet": "127.0.0.0/24"}, "belongs to somebody"),
        ({"subnet": "192.168.70.5/24"}, "begins at 192.168.70.0/24"),
        ({"subnet": "::ffff:10.0.0.0/112"}, "like 192.168.70.0/24"),
        ({"subnet": "10.9.0.0"}, "like 192.168.70.0/24"),
        ({"subnet": "9" * 64}, "like 192.168.70.0/24"),
        ({"subnet": ""}, "like 192.168.70.0/24"),
        ({"subnet": "192.168.57.128/25"}, "overlaps with the network “private”"),
        ({"subnet": "192.168.0.0/16"}, "overlaps with the network “private”"),
        ({"subnet": "172.20.0.0/16"}, "The host rack-1 itself is in the range 172.20.1.0/24 (eth0)"),
        ({"name": "  "}, "needs a name"),
        ({"name": "PRIVATE"}, "of this name already"),
        ({"name": "a\u202eb"}, "visible characters"),
        ({"name": "x" * 64}, "at most 63"),
        ({"kind": "tunnel"}, "Choose one of these"),
        ({"ipv6": "behind", "subnet6": "2001:db8::/64"}, "begins with fd"),
        ({"ipv6": "behind", "subnet6": "fd00::/48"}, "exactly the size /64"),
        ({"ipv6": "routed", "subnet6": "fe80::/64"}, "not for machines"),
        ({"ipv6": "routed", "subnet6": "ff02::/64"}, "not for machines"),
        ({"ipv6": "routed", "subnet6": "::/64"}, "not for machines"),
        ({"ipv6": "routed", "subnet6": "::ffff:10.0.0.0/64"}, "like fd12"),
        ({"ipv6": "routed", "subnet6": ""}, "like fd12"),
    ],
)  # fmt: skip
def test_what_makes_no_network_is_refused_at_its_field_and_kept_as_it_was_typed(
    boss: User, browser: Client, rack: Host, fields: dict[str, str], words: str
) -> None:
    card = people.interface("eth0", addresses=("172.20.1.7/24",))
    people.host_heard(interfaces=(card,))
    private_network()
    typed = {"name": "lab", "kind": "nat", "subnet": "10.9.0.0/24", "ipv6": "no", "subnet6": "fd00::/64"}
    answer = browser.post("/networks/new/", typed | fields)
    assert answer.status_code == 422
    text = answer.content.decode()
    assert words in text
    assert "is-invalid" in text or "Choose one" in text
    for name in ("subnet", "subnet6"):
        assert f'value="{(typed | fields)[name]}"' in text
    assert Network.objects.count() == 1


def test_ipv6_ranges_of_two_networks_never_overlap(boss: User) -> None:
    made(boss, subnet6="fd12::/64")
    with pytest.raises(Refused, match="overlaps with the network “lab”") as refusal:
        made(boss, "other", subnet="10.10.0.0/24", subnet6="fd12::/64")
    assert refusal.value.field == "subnet6"


def test_the_range_that_is_proposed_passes_over_networks_and_hosts_and_ends_where_all_are_taken() -> None:
    first = ipaddress.IPv4Network("192.168.57.0/24")
    taken = [ipaddress.IPv4Network(each) for each in ("192.168.57.0/24", "192.168.58.0/23")]
    assert str(free_subnet(taken, first)) == "192.168.60.0/24"
    assert str(free_subnet([], ipaddress.IPv4Network("10.0.0.0/16"))) == "192.168.0.0/24"
    assert free_subnet([ipaddress.IPv4Network("192.168.0.0/16")], first) is None
    assert str(subnet_from(" 10.9.0.0/29 ")) == "10.9.0.0/29"


def test_markup_in_a_name_is_text_on_every_page(boss: User, browser: Client, running: Machine) -> None:
    network = made(boss, MARKUP)
    plug(running, network)
    for address in ("/networks/", f"/networks/{network.pk}/", "/machines/new/", f"/machines/{running.pk}/",
                    f"/machines/{running.pk}/network/", f"/machines/{running.pk}/hardware/"):  # fmt: skip
        text = browser.get(address).content.decode()
        assert MARKUP not in text, address
        assert "&lt;script&gt;" in text, address


def test_people_see_the_networks_with_their_own_machines_only(
    running: Machine, ann: User, ben: User, boss: User
) -> None:
    text = signed_in(ann).get("/networks/").content.decode()
    assert "Behind the host" in text
    assert "1 of your machines" in text
    assert "New network" not in text
    assert "none of your machines" in signed_in(ben).get("/networks/").content.decode()
    assert "1 machine" in signed_in(boss).get("/networks/").content.decode()


def test_the_first_network_may_be_renamed_and_stays_the_one_that_machines_get(
    boss: User, running: Machine, ann: User
) -> None:
    private = private_network()
    changing.network_rename(network=private, name="inside", by=boss)
    assert private_network().pk == private.pk
    assert Network.objects.count() == 1
    with pytest.raises(Refused, match="can be renamed, but not deleted"):
        changing.network_delete(network=private, by=boss)


def test_a_new_name_is_a_new_ending_of_its_machines_names_so_each_is_told(
    boss: User, running: Machine
) -> None:
    changing.network_rename(network=private_network(), name="Inside & out", by=boss)
    assert asked(people.newest(running)).nics[0].network.domain == "inside-out"
    before = people.newest(running)
    people.done(running)
    changing.network_rename(network=private_network(), name="inside OUT", by=boss)  # the same in DNS
    assert people.newest(running).pk == before.pk


def test_a_network_is_deleted_or_gets_another_range_only_while_no_machine_is_in_it(
    boss: User, browser: Client, running: Machine, ann: User
) -> None:
    network = made(boss)
    plug(running, network)
    for number in range(4):
        plug(people.done(people.machine_of(ann, f"box {number}")), network)
    words = "In it: “box 0”, “box 1”, “box 2” and 2 more"
    with pytest.raises(Refused, match=words):
        changing.network_delete(network=network, by=boss)
    answer = browser.post(f"/networks/{network.pk}/subnet/", {"subnet": "10.11.0.0/24"})
    assert answer.status_code == 422
    assert words in answer.content.decode()
    Machine.objects.all().delete()
    assert browser.post(f"/networks/{network.pk}/subnet/", {"subnet": "10.11.0.0/24"}).status_code == 302
    network.refresh_from_db()
    assert network.subnet == "10.11.0.0/24"
    assert browser.post(f"/networks/{network.pk}/delete/").status_code == 302
    assert not Network.objects.filter(pk=network.pk).exists()


def test_ipv6_is_switched_on_and_off_for_every_card_and_each_host_is_told(
    boss: User, browser: Client, running: Machine, ann: User
) -> None:
    private = private_network()
    other = people.done(people.machine_of(ann, "other"))
    address = f"/networks/{private.pk}/ipv6/"
    assert browser.post(address, {"ipv6": "behind", "subnet6": "fd12:0:0:1::/64"}).status_code == 302
    for machine in (running, other):
        spec = asked(people.newest(machine))
        assert people.newest(machine).kind == Kind.CHANGE
        offset = int(spec.nics[0].address or 0) - int(ipaddress.IPv4Address("192.168.57.0"))
        assert spec.nics[0].address6 == ipaddress.IPv6Network("fd12:0:0:1::/64")[offset]
        assert spec.nics[0].network.subnet6 is not None
        people.done(machine)
        page = signed_in(ann).get(f"/machines/{machine.pk}/").content.decode()
        assert str(spec.nics[0].address6) in page
    assert browser.post(address, {"ipv6": "behind", "subnet6": "fd12:0:0:1::/64"}).status_code == 422
    assert browser.post(address, {"ipv6": "no"}).status_code == 302
    spec = asked(people.newest(running))
    assert (spec.nics[0].address6, spec.nics[0].network.subnet6) == (None, None)


def test_a_machine_that_is_busy_holds_a_change_of_its_network_up_and_a_hibernated_one_does_not(
    boss: User, running: Machine
) -> None:
    place = PlaceFacts(name="main", total_mib=1000, free_mib=900).model_dump(mode="json")
    Host.objects.update(backup_places=[place])
    running.refresh_from_db()
    private = private_network()

    def switch_on() -> None:
        changing.network_change_ipv6(network=private, subnet6="fd12::/64", routed=False, by=boss)

    backup_take(machine=running, place="main", by=boss)
    with pytest.raises(Refused, match="under way for the machine “web”"):
        switch_on()
    assert running.nics.get().address6 is None
    people.done(running, Observed.SAVED)
    before = people.newest(running)
    switch_on()
    assert people.newest(running).pk == before.pk
    assert running.nics.get().address6 is not None  # it hears of it when it wakes


def test_nothing_is_asked_of_a_network_of_ones_own_that_only_we_could_give(boss: User) -> None:
    network = made(boss, kind=NetworkKind.BRIDGED)
    with pytest.raises(Refused):
        changing.network_change_subnet(network=network, subnet="10.0.0.0/24", by=boss)
    with pytest.raises(Refused):
        changing.network_change_ipv6(network=network, subnet6="fd12::/64", routed=False, by=boss)


@pytest.mark.parametrize("raw", ["", "20000", "29999-20000", "80-90", "20000-70000", "a-b", "-1-5"])
def test_a_range_of_ports_that_is_none_stops_the_start(raw: str) -> None:
    from django.core.exceptions import ImproperlyConfigured

    from portal.settings import _published_ports

    with pytest.raises(ImproperlyConfigured):
        _published_ports(raw)
    assert _published_ports("1024-1024") == range(1024, 1025)


def test_a_network_may_have_any_of_the_ports_that_the_settings_say(settings: LazySettings) -> None:
    assert (settings.PUBLISHED_PORTS[0], settings.PUBLISHED_PORTS[-1]) == (20000, 29999)
