"""Cards in bridged networks that are locked to an address: by whom, to what, what a lock outlives, and what has none."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest
from django.test import Client

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.audit.models import Entry
from portal.backups import services as backups
from portal.backups.models import Backup
from portal.fleet.models import Host
from portal.machines import (
    address_locks,
    cloning,
    firewall_changes,
    hardware,
    renewing,
    reports,
    services,
    snapshots,
)
from portal.machines.models import Base, Machine, Nic, Snapshot, Template
from portal.networks import changing, uplinks
from portal.networks.changing import NetworkWish
from portal.networks.models import Network
from portal.refusal import Refused
from tests.web import people
from tests.web.people import signed_in
from tests.web.test_copies import publish
from tests.web.test_impersonation import act_as
from workers.contract.host import HostUsage, PlaceFacts
from workers.contract.jobs import BackupFacts
from workers.contract.messages import AgentFacts, AgentState, ApplyMachine, Observed, OperationState
from workers.contract.networks import NetworkKind, NicSpec
from workers.contract.spec import NicModel
from workers.contract.version import from_wire

BRIDGE = people.interface("br0", "eth0", addresses=("192.0.2.9/24", "2001:db8::9/64", "fe80::9/64", "odd"))
OTHER_CARD = people.interface("eth1", addresses=("198.51.100.4/24",))
FOUR, SIX = "192.0.2.7", "2001:db8::7"


@pytest.fixture
def rack(db: None) -> Host:
    """A host with a bridge, and a backup folder."""
    usage = HostUsage(
        memory_total_mib=65536, memory_free_mib=60000, disk_total_mib=10**6, disk_free_mib=9 * 10**5, load=0.5,
        backup_places=(PlaceFacts(name="main", total_mib=1000, free_mib=900),),
    )  # fmt: skip
    return people.host_heard(interfaces=(BRIDGE, OTHER_CARD), usage=usage)


@pytest.fixture
def lan(rack: Host, boss: User) -> Network:
    """The organisation's own network, which the host is connected to."""
    network = changing.network_create(wish=NetworkWish("office", NetworkKind.BRIDGED), by=boss)
    uplinks.uplink_set(network=network, host=rack, bridge="br0", by=boss)
    return network


@pytest.fixture
def bridged(lan: Network, ann: User) -> Machine:
    """Ann's machine with its one card there, running."""
    return people.done(people.machine_of(ann, network=lan))


@pytest.fixture
def browser(boss: User) -> Client:
    return signed_in(boss)


def nic(machine: Machine) -> Nic:
    return machine.nics.get()


def lock(
    browser: Client, machine: Machine, address: str = FOUR, address6: str = SIX, of: Nic | None = None
) -> Any:
    """The answer to the form of the machine's card, or of another one."""
    typed = {"address": address, "address6": address6}
    return browser.post(f"/machines/{machine.pk}/cards/{(of or nic(machine)).pk}/lock/", typed)


def unlock(browser: Client, machine: Machine, *, follow: bool = False) -> Any:
    return browser.post(f"/machines/{machine.pk}/cards/{nic(machine).pk}/unlock/", follow=follow)


def locked(
    browser: Client,
    machine: Machine,
    address: str = FOUR,
    address6: str = SIX,
    power: Observed = Observed.RUNNING,
) -> Machine:
    """The machine after its host has locked its card."""
    assert lock(browser, machine, address, address6).status_code == 302
    return people.done(machine, power)


def asked(machine: Machine) -> NicSpec:
    """The one card as its host is to have it."""
    return spec_asked(people.newest(machine))


def spec_asked(operation: Operation) -> NicSpec:
    [card] = from_wire(ApplyMachine, operation.message).spec.nics
    return card


def addresses(card: NicSpec | Nic) -> tuple[str | None, str | None]:
    return (str(card.address) if card.address else None, str(card.address6) if card.address6 else None)


def page(user: User, machine: Machine, name: str = "network/") -> str:
    return signed_in(user).get(f"/machines/{machine.pk}/{name}").content.decode()


def last_line(action: str) -> Entry:
    found = Entry.objects.filter(action=action).first()
    assert found is not None
    return found


# Locking, and taking the lock away


def test_a_card_is_locked_and_let_go_while_its_machine_runs(
    browser: Client,
    bridged: Machine,
    django_capture_on_commit_callbacks: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[object] = []
    monkeypatch.setattr("portal.live.publish.machine_changed", told.append)
    assert addresses(asked(bridged)) == (None, None)
    with django_capture_on_commit_callbacks(execute=True):
        assert lock(browser, bridged, f" {FOUR} ", "2001:DB8:0::7").status_code == 302
    newest = people.newest(bridged)
    assert (newest.kind, addresses(asked(bridged))) == (Kind.CHANGE, (FOUR, SIX))
    assert newest.generation == Machine.objects.get().generation
    assert told == [bridged.pk]  # whoever looks at its pages sees it
    people.done(bridged)
    assert lock(browser, bridged, FOUR, "").status_code == 302
    assert addresses(asked(bridged)) == (FOUR, None)
    assert lock(browser, bridged, "", SIX).status_code == 302
    assert addresses(asked(bridged)) == (None, SIX)
    assert unlock(browser, bridged).status_code == 302
    assert addresses(asked(bridged)) == addresses(nic(bridged)) == (None, None)
    text = unlock(browser, bridged, follow=True).content.decode()
    assert "not locked to an address. Nothing was changed" in text


def test_the_activity_says_who_locked_it_to_what_and_who_let_it_go(
    browser: Client, bridged: Machine, ann: User
) -> None:
    lock(browser, bridged, FOUR, "")
    unlock(browser, bridged)
    told = {"card": 1, "network": "office", "address": FOUR, "address6": None, "because": ""}
    for action in ("address_locked", "address_unlocked"):
        line = last_line(action)
        assert (line.actor_name, line.object_name, line.details) == ("boss", "web", told)
    text = page(ann, bridged, "activity/")
    assert "Locked a network card to an address" in text
    assert "Took the lock to an address from a network card" in text
    assert f"address: {FOUR}" in text


@pytest.mark.parametrize(
    ("typed", "field", "words"),
    [
        (("somewhere", ""), "address", "Give an IPv4 address like 192.0.2.7"),
        ((f"{FOUR}/24", ""), "address", "Give an IPv4 address like 192.0.2.7"),
        (("192.0.2.07", ""), "address", "Give an IPv4 address like 192.0.2.7"),
        ((f"{FOUR} }} accept; {{", ""), "address", "Give an IPv4 address like 192.0.2.7"),
        ((SIX, ""), "address", "Give an IPv4 address like 192.0.2.7"),
        (("0.0.0.0", ""), "address", "stands for no address at all"),
        (("0.1.2.3", ""), "address", "stands for no address at all"),
        (("127.0.0.1", ""), "address", "(loopback)"),
        (("224.0.0.5", ""), "address", "(multicast)"),
        (("169.254.3.4", ""), "address", "(link-local)"),
        (("255.255.255.255", ""), "address", "(broadcast)"),
        (("240.0.0.1", ""), "address", "reserved"),
        (("192.0.2.255", ""), "address", "In the range 192.0.2.0/24"),
        (("192.0.2.0", ""), "address", "In the range 192.0.2.0/24"),
        (("192.0.2.9", ""), "address", "the address of the host rack-1 itself"),
        (("198.51.100.4", ""), "address", "the address of the host rack-1 itself"),
        (("", ""), "address", "Give an IPv4 address, an IPv6 address, or both"),
        (("", "nowhere"), "address6", "Give an IPv6 address like 2001:db8::7"),
        (("", FOUR), "address6", "Give an IPv6 address like 2001:db8::7"),
        (("", f"{SIX}/64"), "address6", "Give an IPv6 address like 2001:db8::7"),
        (("", "fe80::1%eth0"), "address6", "Give an IPv6 address like 2001:db8::7"),
        (("", f"{SIX}%{'x' * 200}"), "address6", "Give an IPv6 address like 2001:db8::7"),
        (("", f"::ffff:{FOUR}"), "address6", f"Write it as {FOUR} at “IPv4 address”"),
        (("", "::"), "address6", "stands for no address at all"),
        (("", "::1"), "address6", "(loopback)"),
        (("", "ff02::1"), "address6", "(multicast)"),
        (("", "fe80::1"), "address6", "need no lock"),
        (("", "fec0::1"), "address6", "reserved"),
        (("", "8000::1"), "address6", "reserved"),
        (("", "2001:db8::9"), "address6", "the address of the host rack-1 itself"),
        ((FOUR, "nowhere"), "address6", "Give an IPv6 address like 2001:db8::7"),
    ],
)  # fmt: skip
def test_what_is_no_machines_address_is_refused_at_its_field_and_kept_as_it_was_typed(
    browser: Client, bridged: Machine, typed: tuple[str, str], field: str, words: str
) -> None:
    before = people.newest(bridged)
    answer = lock(browser, bridged, *typed)
    assert answer.status_code == 422
    text = answer.content.decode()
    at_field = text.split(f'id="lock-{nic(bridged).pk}-{field}-error">')[1].split("</div>")[0]
    assert words in at_field
    for name, value in zip(("address", "address6"), typed, strict=True):
        assert f'name="{name}" maxlength="64" autocomplete="off" placeholder="any" value="{value}"' in text
    assert f'<details id="lock-{nic(bridged).pk}" open>' in text
    assert (addresses(nic(bridged)), people.newest(bridged)) == ((None, None), before)
    assert not Entry.objects.filter(action="address_locked").exists()


def test_both_fields_that_are_wrong_are_said_to_be_so_at_once(browser: Client, bridged: Machine) -> None:
    text = lock(browser, bridged, "127.0.0.1", "ff02::1").content.decode()
    assert "(loopback)" in text
    assert "(multicast)" in text


def test_an_address_that_another_card_there_is_locked_to_is_refused_with_its_machines_name(
    browser: Client, bridged: Machine, lan: Network, ann: User, boss: User
) -> None:
    locked(browser, bridged)
    people.silence("rack-1")  # the next one is made elsewhere: the network is the same there
    rack2 = people.host_heard("rack-2", interfaces=(BRIDGE.model_copy(update={"addresses": ()}),))
    uplinks.uplink_set(network=lan, host=rack2, bridge="br0", by=boss)
    other = people.done(people.machine_of(ann, "mail", network=lan))
    assert other.host != bridged.host
    people.host_heard(interfaces=(BRIDGE,))
    for typed, field in (((FOUR, ""), "address"), (("", SIX), "address6"), (("192.0.2.8", SIX), "address6")):
        answer = lock(browser, other, *typed)
        assert answer.status_code == 422
        at_field = answer.content.decode().split(f'-{field}-error">')[1].split("</div>")[0]
        assert "A card of the machine “web” is locked to this address already" in at_field
    assert addresses(nic(other)) == (None, None)
    unlock(browser, bridged)
    assert lock(browser, other).status_code == 302


def test_in_another_network_the_same_address_is_another_one(
    browser: Client, bridged: Machine, lan: Network, ann: User, boss: User, rack: Host
) -> None:
    people.host_heard(interfaces=(BRIDGE, people.interface("br1", "eth2")))
    second = changing.network_create(wish=NetworkWish("lab", NetworkKind.BRIDGED), by=boss)
    uplinks.uplink_set(network=second, host=Host.objects.get(), bridge="br1", by=boss)
    other = people.done(people.machine_of(ann, "mail", network=second))
    locked(browser, bridged)
    assert lock(browser, other).status_code == 302
    assert addresses(asked(other)) == (FOUR, SIX)


@pytest.mark.parametrize(
    "address", ["198.51.100.255", "192.0.2.1", "10.1.2.3", "8.8.8.8"]
)  # the first is the last of a range that the host is in elsewhere
def test_any_machines_address_is_taken_whatever_range_it_is_of(
    browser: Client, bridged: Machine, address: str
) -> None:
    assert lock(browser, bridged, address, "fd00::5").status_code == 302
    assert addresses(asked(bridged)) == (address, "fd00::5")


def test_the_same_lock_again_changes_nothing(browser: Client, bridged: Machine) -> None:
    locked(browser, bridged)
    before = people.newest(bridged)
    answer = lock(browser, bridged)
    assert answer.status_code == 422
    assert "so already. Nothing was changed" in answer.content.decode()
    assert people.newest(bridged) == before


def test_a_card_that_its_network_gives_an_address_is_not_locked(
    browser: Client, bridged: Machine, ann: User, boss: User
) -> None:
    behind = people.done(people.machine_of(ann, "behind"))
    before = addresses(nic(behind))
    answer = lock(browser, behind)
    assert answer.status_code == 422
    assert "each card may use its own addresses alone as it is" in answer.content.decode()
    text = unlock(browser, behind, follow=True).content.decode()
    assert "each card may use its own addresses alone as it is" in text
    answer = lock(browser, bridged, of=nic(behind))
    assert answer.status_code == 422
    assert "no such network card" in answer.content.decode()
    assert addresses(nic(behind)) == before
    assert "Lock to an address" not in page(boss, behind)


def test_while_something_else_is_under_way_it_waits(browser: Client, bridged: Machine, ann: User) -> None:
    snapshots.snapshot_take(machine=bridged, name="then", description="", memory=False, by=ann)
    answer = lock(browser, bridged)
    assert answer.status_code == 422
    assert "“Take a snapshot” is under way" in answer.content.decode()
    assert f'value="{FOUR}"' in answer.content.decode()


def test_a_machine_that_is_off_is_locked_for_its_next_start(
    browser: Client, bridged: Machine, ann: User
) -> None:
    locked(browser, off(bridged), power=Observed.OFF)
    started = services.machine_start(machine=bridged, by=ann)
    assert addresses(spec_asked(started)) == (FOUR, SIX)


# Who may


def test_its_owner_and_all_others_see_the_lock_and_cannot_change_it(
    browser: Client, bridged: Machine, ann: User, ben: User
) -> None:
    otto = User.objects.create_user("otto", audits=True)
    approver = User.objects.create_user("appy", approves=True)
    for is_locked in (False, True):
        before = (addresses(nic(bridged)), people.newest(bridged))
        for user, refused in ((ann, 404), (ben, 404), (approver, 404), (otto, 403)):
            theirs = signed_in(user)
            assert lock(theirs, bridged, "192.0.2.66", "").status_code == refused, user
            assert unlock(theirs, bridged).status_code == refused, user
        assert (addresses(nic(bridged)), people.newest(bridged)) == before
        words = f"May use the addresses {FOUR} and {SIX} alone" if is_locked else "May use any address"
        for user in (ann, otto):
            text = page(user, bridged)
            assert words in text
            assert "/lock/" not in text
            assert "Lock to an address" not in text
            assert "Remove the lock" not in text
        if not is_locked:
            locked(browser, bridged)


def test_an_administrator_who_acts_as_its_owner_cannot_either(
    browser: Client, bridged: Machine, ann: User
) -> None:
    act_as(browser, ann)
    assert lock(browser, bridged).status_code == 404
    assert "Lock to an address" not in browser.get(f"/machines/{bridged.pk}/network/").content.decode()
    assert addresses(nic(bridged)) == (None, None)


def test_an_administrator_takes_it_back_by_cancelling_the_change_and_its_owner_cannot(
    browser: Client, bridged: Machine, ann: User
) -> None:
    for user, then in ((signed_in(ann), (FOUR, SIX)), (browser, (FOUR, None))):
        assert lock(browser, bridged, FOUR, "").status_code == 302
        people.done(bridged)
        assert lock(browser, bridged).status_code == 302
        assert user.post(f"/machines/{bridged.pk}/cancel/").status_code == 302
        assert people.newest(bridged).kind == Kind.CANCEL
        assert addresses(asked(bridged)) == addresses(nic(bridged)) == then
        people.done(bridged)


# What the pages say


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (("", ""), "May use any address"),
        ((FOUR, ""), f"May use the address {FOUR} alone, and any IPv6 address"),
        (("", SIX), f"May use the address {SIX} alone, and any IPv4 address"),
        ((FOUR, SIX), f"May use the addresses {FOUR} and {SIX} alone"),
    ],
)
def test_the_page_says_what_the_card_may_use(
    browser: Client, bridged: Machine, ann: User, boss: User, typed: tuple[str, str], words: str
) -> None:
    if any(typed):
        locked(browser, bridged, *typed)
    for user in (ann, boss):
        assert f"<span>{words}</span>" in page(user, bridged)
        assert (words in page(user, bridged, "")) is any(typed)
        assert "kept for it" not in page(user, bridged)
        assert "given by your network; the machine has not told of it yet" in page(user, bridged)
    form = page(boss, bridged)
    assert ("Change or remove the lock" in form) is any(typed)
    assert ("Remove the lock" in form) is any(typed)
    assert ("Lock to an address" in form) is not any(typed)
    assert "With another one the machine reaches nobody." in form
    assert "An empty field lets the machine use any address of that kind." in form
    for name, value in zip(("address", "address6"), typed, strict=True):
        assert f'name="{name}" maxlength="64" autocomplete="off" placeholder="any" value="{value}"' in form


def test_an_address_that_the_guest_tells_of_is_shown_once_and_one_that_it_has_not_is_not_said_to_be_in_use(
    browser: Client, bridged: Machine, ann: User
) -> None:
    locked(browser, bridged)
    Machine.objects.update(seed={"user": "me"})
    agent = AgentFacts(state=AgentState.ANSWERS, addresses=(FOUR, "192.0.2.66"))
    people.done(bridged, agent=agent)
    text = page(ann, bridged)
    assert text.count(f'data-copy="given-{nic(bridged).pk}') == 2
    assert f">{FOUR}</span>" in text
    assert ">192.0.2.66</span>" in text  # it has it, and reaches nobody with it
    assert f">{SIX}</span>" not in text
    assert f"ssh me@{FOUR}" in page(ann, bridged, "")
    for query in (FOUR, SIX):
        found = signed_in(ann).get(f"/machines/?q={query}").content.decode()
        assert f"/machines/{bridged.pk}/" in found
        assert FOUR in found
    assert FOUR in page(ann, bridged, "hardware/")


def test_of_two_cards_there_each_shows_its_own_address(
    browser: Client, bridged: Machine, lan: Network, ann: User
) -> None:
    first = nic(bridged)
    locked(browser, bridged)
    hardware.card_add(machine=bridged, network=lan, model=NicModel.VIRTIO, by=ann)
    agent = AgentFacts(state=AgentState.ANSWERS, addresses=(FOUR, "192.0.2.66"))
    people.done(bridged, agent=agent)
    text = page(ann, bridged)
    assert text.count('data-copy="given-') == text.count(f'data-copy="given-{first.pk}') == 1
    assert text.index(f">{FOUR}</span>") < text.index("Card 2 in “office”")
    assert "May use any address" in text.split("Card 2 in “office”")[1]


# What a lock outlives, and what has none


def off(machine: Machine) -> Machine:
    services.machine_force_off(machine=machine, by=machine.owner)
    return people.done(machine, Observed.OFF)


def snapshot_of(machine: Machine, name: str = "then") -> Snapshot:
    taken = snapshots.snapshot_take(
        machine=machine, name=name, description="", memory=False, by=machine.owner
    )
    reports.progress_take(people.told(taken))
    people.done(machine)
    return machine.snapshots.get(name=name)


def gone_back(machine: Machine, snapshot: Snapshot) -> Operation:
    machine.refresh_from_db()
    back = snapshots.snapshot_revert(machine=machine, snapshot=snapshot, by=machine.owner)
    reports.progress_take(people.told(back))
    people.done(machine)
    return back


def without_card(machine: Machine) -> None:
    hardware.card_remove(machine=machine, nic_id=nic(machine).pk, by=machine.owner)
    people.done(machine)
    assert not machine.nics.exists()


@pytest.mark.parametrize("linked", [True, False])
def test_a_clone_has_no_lock(browser: Client, bridged: Machine, ann: User, linked: bool) -> None:
    locked(browser, bridged)
    off(bridged)
    clone = cloning.machine_clone(machine=bridged, name="twin", linked=linked, start=False, by=ann)
    assert addresses(spec_asked(clone)) == (None, None)
    assert addresses(Nic.objects.get(machine__name="twin")) == (None, None)
    assert addresses(nic(bridged)) == (FOUR, SIX)


def test_a_machine_of_a_template_and_a_class_has_no_lock(
    browser: Client, bridged: Machine, lan: Network, ben: User, boss: User
) -> None:
    locked(browser, bridged)
    template: Template = publish(off(bridged))
    made = cloning.machine_from_template(
        template=template, owner=ben, name="new", cpus=1, memory_mib=512, network=lan, by=ben
    )
    assert addresses(spec_asked(made)) == (None, None)
    fields = {
        "name": "course",
        "template": str(template.pk),
        "team": "",
        "people": "ben",
        "network": str(lan.pk),
    }
    assert signed_in(boss).post("/classes/new/", fields | {"confirmed": "yes"}).status_code == 302
    of_the_class = Machine.objects.get(name="ben-course")
    assert (nic(of_the_class).network, addresses(asked(of_the_class))) == (lan, (None, None))


def test_a_restored_machine_has_no_lock(browser: Client, bridged: Machine, lan: Network, ann: User) -> None:
    locked(browser, bridged)
    taking = backups.backup_take(machine=bridged, place="main", by=ann)
    reports.progress_take(people.told(taking, facts=BackupFacts(stored_bytes=4096, incremental=False)))
    restored = backups.backup_restore(backup=Backup.objects.get(), name="again", by=ann)
    card = spec_asked(restored)
    assert (card.network.id, addresses(card)) == (lan.pk, (None, None))


def test_a_machine_that_is_made_anew_keeps_it(browser: Client, bridged: Machine, ann: User) -> None:
    publish(off(bridged))
    locked(browser, people.done(bridged, Observed.OFF), power=Observed.OFF)
    assert Base.objects.exists()
    assert addresses(spec_asked(renewing.machine_renew(machine=bridged, by=ann))) == (FOUR, SIX)


def test_going_back_to_a_snapshot_changes_no_lock(browser: Client, bridged: Machine) -> None:
    before = snapshot_of(bridged, "before")
    locked(browser, bridged)
    during = snapshot_of(bridged, "during")
    assert addresses(spec_asked(gone_back(bridged, before))) == addresses(nic(bridged)) == (FOUR, SIX)
    unlock(browser, bridged)
    people.done(bridged)
    assert addresses(spec_asked(gone_back(bridged, during))) == addresses(nic(bridged)) == (None, None)


def test_a_card_that_comes_back_with_a_snapshot_comes_back_under_its_last_lock(
    browser: Client, bridged: Machine
) -> None:
    before = snapshot_of(bridged)  # when it was not locked
    locked(browser, bridged)
    without_card(bridged)
    assert addresses(spec_asked(gone_back(bridged, before))) == addresses(nic(bridged)) == (FOUR, SIX)
    unlock(browser, bridged)
    people.done(bridged)
    during = snapshot_of(bridged, "unlocked")
    without_card(bridged)
    assert addresses(spec_asked(gone_back(bridged, during))) == addresses(nic(bridged)) == (None, None)


def test_a_card_does_not_come_back_with_an_address_that_is_anothers_now(
    browser: Client, bridged: Machine, lan: Network, ann: User
) -> None:
    other = people.done(people.machine_of(ann, "mail", network=lan))
    then = snapshot_of(bridged)
    locked(browser, bridged, "", SIX)
    without_card(bridged)
    # Somebody is locked to it before the host has gone back.
    back = snapshots.snapshot_revert(machine=bridged, snapshot=then, by=ann)
    assert addresses(spec_asked(back)) == (None, SIX)
    locked(browser, other, FOUR, SIX)
    reports.progress_take(people.told(back))
    people.done(bridged)
    assert not bridged.nics.exists()
    with pytest.raises(Refused, match=f"The address {SIX} of then belongs to another machine now"):
        snapshots.snapshot_revert(machine=bridged, snapshot=then, by=ann)


def test_removing_the_card_drops_the_lock_with_a_line_and_a_new_one_has_none(
    browser: Client, bridged: Machine, lan: Network, ann: User
) -> None:
    other = people.done(people.machine_of(ann, "mail", network=lan))
    locked(browser, bridged)
    hardware.card_remove(machine=bridged, nic_id=nic(bridged).pk, by=ann)
    assert last_line("address_unlocked").details["because"] == "the card is removed"
    assert last_line("address_unlocked").actor_name == "ann"
    assert "no such network card" in lock(browser, bridged, "192.0.2.8", "").content.decode()
    assert lock(browser, other).status_code == 422  # its host has not done it yet
    people.done(bridged)
    assert lock(browser, other).status_code == 302
    hardware.card_add(machine=bridged, network=lan, model=NicModel.VIRTIO, by=ann)
    assert addresses(asked(bridged)) == (None, None)


def test_removing_a_card_that_is_not_locked_says_nothing_of_a_lock(bridged: Machine, ann: User) -> None:
    behind = people.done(people.machine_of(ann, "behind"))
    assert "May use" not in page(ann, behind)
    for machine in (bridged, behind):
        hardware.card_remove(machine=machine, nic_id=nic(machine).pk, by=ann)
    assert not Entry.objects.filter(action="address_unlocked").exists()


def test_a_lock_that_its_host_could_not_set_is_taken_back(browser: Client, bridged: Machine) -> None:
    locked(browser, bridged, FOUR, "")
    lock(browser, bridged, "192.0.2.8", SIX)
    assert reports.progress_take(people.told(people.newest(bridged), OperationState.FAILED))
    assert addresses(nic(bridged)) == (FOUR, None)
    unlock(browser, bridged)
    assert reports.progress_take(people.told(people.newest(bridged), OperationState.FAILED))
    assert addresses(nic(bridged)) == (FOUR, None)


def test_a_lock_that_could_not_be_taken_away_does_not_come_back_to_an_address_that_is_anothers_now(
    browser: Client, bridged: Machine, lan: Network, ann: User
) -> None:
    other = people.done(people.machine_of(ann, "mail", network=lan))
    locked(browser, bridged)
    unlock(browser, bridged)
    letting_go = people.newest(bridged)
    assert lock(browser, other).status_code == 302
    assert reports.progress_take(people.told(letting_go, OperationState.FAILED))
    assert addresses(nic(bridged)) == (None, None)
    assert addresses(nic(other)) == (FOUR, SIX)


def test_another_change_that_fails_leaves_the_lock_alone(
    browser: Client, bridged: Machine, ann: User
) -> None:
    lock(browser, bridged)  # its host has not answered yet
    failed = firewall_changes.firewall_set(
        machine=bridged, is_on=False, allow_in=False, allow_out=True, by=ann
    )
    assert reports.progress_take(people.told(failed, OperationState.FAILED))
    assert addresses(nic(bridged)) == (FOUR, SIX)


def test_what_else_is_done_with_the_network_leaves_the_lock_alone(
    browser: Client, bridged: Machine, lan: Network, boss: User
) -> None:
    locked(browser, bridged)
    people.host_heard(interfaces=(BRIDGE, people.interface("br1", "eth2")))
    bridged.refresh_from_db()
    uplinks.uplink_set(network=lan, host=bridged.host, bridge="br1", by=boss)
    card = asked(bridged)
    assert (card.network.bridge, addresses(card)) == ("br1", (FOUR, SIX))
    people.done(bridged)
    changing.network_rename(network=lan, name="desk", by=boss)
    with pytest.raises(Refused, match="In a network of yours IPv6 comes from its own routers"):
        changing.network_change_ipv6(network=lan, subnet6="fd12:3456:789a:1::/64", routed=False, by=boss)
    with pytest.raises(Refused, match="In it: “web”"):
        changing.network_delete(network=lan, by=boss)
    assert addresses(nic(bridged)) == (FOUR, SIX)
    services.machine_delete(machine=bridged, name=bridged.name, by=boss)
    bridged.refresh_from_db()
    reports.observed_take(people.seen(bridged, Observed.GONE))
    changing.network_delete(network=lan, by=boss)


def test_nothing_is_locked_where_the_wish_could_not_be_written(
    bridged: Machine, boss: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_args: object, **_words: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(address_locks, "change", fails)
    with pytest.raises(RuntimeError):
        address_locks.card_lock(
            machine=bridged, nic_id=nic(bridged).pk, address=IPv4Address(FOUR), address6=None, by=boss
        )
    assert addresses(nic(bridged)) == (None, None)
    assert not Entry.objects.filter(action="address_locked").exists()
