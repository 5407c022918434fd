"""Bridged networks: how hosts are connected, bridges that are made and removed, and where machines of them may be."""

from __future__ import annotations

import pytest
from django.test import Client

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.fleet.models import Host
from portal.machines import hardware, reports, snapshots
from portal.machines.cloning import machine_clone
from portal.machines.models import Machine, Snapshot
from portal.machines.snapshots import become
from portal.networks import uplinks
from portal.networks.models import Network, Uplink
from portal.refusal import Refused
from tests.web import people
from tests.web.people import signed_in
from workers.contract.errors import ErrorCode
from workers.contract.host import Repair
from workers.contract.jobs import MakeBridge, RemoveBridge
from workers.contract.messages import (
    ApplyMachine,
    DoJob,
    ErrorReport,
    Observed,
    OperationState,
    Progress,
    Step,
    StepReport,
    StepState,
)
from workers.contract.spec import MachineSpec, NicModel
from workers.contract.version import from_wire

CARD = people.interface("eth1", addresses=("192.0.2.7/24",), has_default_route=True)
OWN = people.interface("br0", "eth0", addresses=("192.0.2.9/24",))
MADE = people.interface("ofsbr1", "eth1", is_ours=True)


@pytest.fixture
def lan(db: None) -> Network:
    return Network.objects.create(name="office", kind="bridged")


@pytest.fixture
def rack(db: None) -> Host:
    return people.host_heard(interfaces=(CARD, OWN))


@pytest.fixture
def browser(boss: User) -> Client:
    return signed_in(boss)


def spec_asked(operation: Operation) -> MachineSpec:
    return from_wire(ApplyMachine, operation.message).spec


def end(operation: Operation, state: OperationState = OperationState.DONE) -> None:
    """The host's word on a job."""
    error = (
        ErrorReport(code=ErrorCode.BRIDGE_TAKEN_BACK, detail="no way to the broker")
        if state == "failed"
        else None
    )
    report = Progress(
        operation_id=operation.pk, machine_id=None, generation=0, sequence=people.later(), state=state, error=error,
        steps=(StepReport(step=Step.MAKE_BRIDGE, state=StepState.RUNNING),),
    )  # fmt: skip
    assert reports.progress_take(report)


def test_a_host_is_connected_by_a_bridge_that_it_has(browser: Client, rack: Host, lan: Network) -> None:
    address = f"/networks/{lan.pk}/uplinks/"
    assert "br0 (eth0)" in browser.get(f"/networks/{lan.pk}/").content.decode()
    for bridge in ("eth1", "br9", "../../etc", "x" * 16, ""):
        answer = browser.post(address, {"host": "rack-1", "bridge": bridge})
        assert answer.status_code == 422, bridge
    assert "no such bridge" in browser.post(address, {"host": "rack-1", "bridge": "br9"}).content.decode()
    assert browser.post(address, {"host": "nowhere", "bridge": "br0"}).status_code == 404
    assert not Uplink.objects.exists()
    assert browser.post(address, {"host": "rack-1", "bridge": "br0"}).status_code == 302
    assert Uplink.objects.get().bridge == "br0"
    assert "connected by the bridge br0" in browser.get(f"/networks/{lan.pk}/").content.decode()
    people.host_heard(interfaces=(CARD,))
    assert "has no bridge br0 now" in browser.get(f"/networks/{lan.pk}/").content.decode()
    assert "Connects: office" not in browser.get("/hosts/rack-1/").content.decode()


def test_a_card_with_an_address_by_dhcp_is_told_apart_before_a_bridge_is_made_around_it(
    browser: Client, lan: Network
) -> None:
    by_hand = people.interface("eth2", addresses=("203.0.113.4/24",))
    people.host_heard(interfaces=(CARD.model_copy(update={"is_leased": True}), by_hand))
    for page in (f"/networks/{lan.pk}/", "/hosts/rack-1/"):
        said = browser.get(page).content.decode()
        assert "eth1 (192.0.2.7/24, by DHCP)" in said
        assert "eth2 (203.0.113.4/24)" in said
        assert "have it reserved for the host" in said


def test_a_host_number_beyond_all_is_nothing(browser: Client, lan: Network) -> None:
    for number in ("0", "9" * 30):
        assert browser.post(f"/networks/{lan.pk}/uplinks/{number}/remove/").status_code == 404


def test_a_bridge_is_made_around_a_card_for_a_network_after_a_warning(
    browser: Client, rack: Host, lan: Network
) -> None:
    page, address = f"/networks/{lan.pk}/", f"/networks/{lan.pk}/uplinks/{rack.pk}/bridge/"
    assert "puts everything back by itself" in browser.get(page).content.decode()
    unread = browser.post(address, {"card": "eth1"})
    assert unread.status_code == 422
    assert "Say that you have read" in unread.content.decode()
    for card in ("eth0", "br0", "eth9", "lo"):  # in a bridge, a bridge, not told of
        assert browser.post(address, {"card": card, "sure": "on"}).status_code == 422, card
    assert not Operation.objects.exists()
    assert browser.post(address, {"card": "eth1", "sure": "on"}).status_code == 302
    operation = Operation.objects.get()
    assert (operation.kind, operation.about) == (Kind.MAKE_BRIDGE, lan.pk)
    assert from_wire(DoJob, operation.message).job == MakeBridge(interface="eth1")
    for shown in (page, "/hosts/rack-1/"):
        assert "A bridge is being made around eth1" in browser.get(shown).content.decode()
    again = browser.post(address, {"card": "eth1", "sure": "on"})
    assert "just making or removing a bridge" in again.content.decode()
    end(operation)
    assert not Uplink.objects.exists()  # what the bridge is called is the host's to tell
    people.host_heard(interfaces=(OWN, MADE))
    assert Uplink.objects.get().bridge == "ofsbr1"
    assert "Connects: office" in browser.get("/hosts/rack-1/").content.decode()
    uplinks.uplink_remove(network=lan, host=rack, by=User.objects.get())
    people.host_heard(interfaces=(OWN, MADE), threads=9)
    assert not Uplink.objects.exists()  # it was connected once, and not again


def test_a_host_that_tells_of_the_bridge_first_is_connected_when_the_job_ends(
    boss: User, rack: Host, lan: Network
) -> None:
    operation = uplinks.bridge_make(host=rack, card="eth1", network=lan, is_sure=True, by=boss)
    people.host_heard(interfaces=(OWN, MADE))
    assert not Uplink.objects.exists()
    end(operation)
    assert Uplink.objects.get().bridge == "ofsbr1"


def test_a_bridge_that_was_taken_back_is_told_of_on_both_pages(
    browser: Client, boss: User, rack: Host, lan: Network
) -> None:
    end(
        uplinks.bridge_make(host=rack, card="eth1", network=lan, is_sure=True, by=boss), OperationState.FAILED
    )
    for page in (f"/networks/{lan.pk}/", "/hosts/rack-1/"):
        text = browser.get(page).content.decode()
        assert "went back to how it was" in text
        assert "no way to the broker" in text
    people.host_heard(interfaces=(OWN, MADE))
    assert not Uplink.objects.exists()


def test_a_bridge_of_ours_is_removed_only_when_no_network_needs_it(
    browser: Client, boss: User, lan: Network
) -> None:
    rack = people.host_heard(interfaces=(OWN, MADE))
    uplinks.uplink_set(network=lan, host=rack, bridge="ofsbr1", by=boss)
    for bridge, words in (("ofsbr1", "“office”"), ("br0", "no such bridge of ours"), ("x", "no such bridge")):
        answer = browser.post("/hosts/rack-1/bridges/remove/", {"bridge": bridge}, follow=True)
        assert words in answer.content.decode()
    assert not Operation.objects.exists()
    uplinks.uplink_remove(network=lan, host=rack, by=boss)
    browser.post("/hosts/rack-1/bridges/remove/", {"bridge": "ofsbr1"})
    operation = Operation.objects.get()
    assert from_wire(DoJob, operation.message).job == RemoveBridge(bridge="ofsbr1")
    assert "The bridge ofsbr1 is being removed" in browser.get("/hosts/rack-1/").content.decode()


def test_nothing_is_asked_of_a_silent_host(boss: User, rack: Host) -> None:
    people.silence("rack-1")
    with pytest.raises(Refused, match="cannot be reached"):
        uplinks.bridge_make(host=rack, card="eth1", network=None, is_sure=True, by=boss)


def test_a_machine_of_a_bridged_network_is_made_where_a_host_is_connected(
    ann: User, boss: User, rack: Host, lan: Network
) -> None:
    with pytest.raises(
        Refused, match="No host that can be reached is connected to the network “office”"
    ) as no:
        people.machine_of(ann, network=lan)
    assert no.value.field == "network"
    other = people.host_heard("rack-2", interfaces=(OWN,), memory_free_mib=4000)
    uplinks.uplink_set(network=lan, host=other, bridge="br0", by=boss)
    machine = people.machine_of(ann, network=lan)
    assert machine.host == other
    card = spec_asked(people.newest(machine)).nics[0]
    assert (card.network.bridge, card.address, card.network.subnet) == ("br0", None, None)
    people.done(machine)
    for page in ("", "network/"):
        text = signed_in(ann).get(f"/machines/{machine.pk}/{page}").content.decode()
        assert "given by your network" in text
    elsewhere = people.done(people.machine_of(ann, "elsewhere"))
    assert elsewhere.host == rack
    with pytest.raises(Refused, match="The host rack-1 is not connected to the network “office”"):
        hardware.card_add(machine=elsewhere, network=lan, model=NicModel.VIRTIO, by=ann)


@pytest.fixture
def bridged(ann: User, boss: User, rack: Host, lan: Network) -> Machine:
    """Ann's machine in the bridged network."""
    uplinks.uplink_set(network=lan, host=rack, bridge="br0", by=boss)
    return people.done(people.machine_of(ann, network=lan))


def test_a_host_is_not_disconnected_from_its_machines_but_may_get_another_bridge(
    boss: User, browser: Client, rack: Host, lan: Network, bridged: Machine
) -> None:
    answer = browser.post(f"/networks/{lan.pk}/uplinks/{rack.pk}/remove/", follow=True)
    assert "In it: “web”" in answer.content.decode()
    people.host_heard(interfaces=(OWN, MADE))
    rack.refresh_from_db()
    uplinks.uplink_set(network=lan, host=rack, bridge="ofsbr1", by=boss)
    assert spec_asked(people.newest(bridged)).nics[0].network.bridge == "ofsbr1"


def test_the_address_that_its_network_gave_is_shown_and_found(ann: User, bridged: Machine) -> None:
    bridged.nics.update(leased_address="192.0.2.50")
    browser = signed_in(ann)
    for page in (
        f"/machines/{bridged.pk}/",
        f"/machines/{bridged.pk}/network/",
        "/machines/",
        "/machines/?q=192.0.2.50",
    ):
        assert "192.0.2.50" in browser.get(page).content.decode(), page


def test_a_clone_is_in_the_same_bridged_network(
    ann: User, boss: User, lan: Network, bridged: Machine
) -> None:
    bridged.power = "off"
    bridged.save()
    people.done(bridged, Observed.OFF)
    clone = machine_clone(machine=bridged, name="twin", linked=False, start=False, by=ann)
    assert spec_asked(clone).nics[0].network.bridge == "br0"


def test_going_back_to_a_snapshot_with_a_card_in_a_bridged_network(
    ann: User, boss: User, rack: Host, lan: Network, bridged: Machine
) -> None:
    snapshots.snapshot_take(machine=bridged, name="then", description="", memory=False, by=ann)
    people.done(bridged)
    Snapshot.objects.update(is_ready=True)
    snapshot = Snapshot.objects.get()
    hardware.card_remove(machine=bridged, nic_id=bridged.nics.get().pk, by=ann)
    people.done(bridged)
    assert not bridged.nics.exists()
    people.host_heard(interfaces=(OWN, MADE))
    Uplink.objects.update(bridge="ofsbr1")
    back = spec_asked(snapshots.snapshot_revert(machine=bridged, snapshot=snapshot, by=ann))
    assert back.nics[0].network.bridge == "ofsbr1"
    become(bridged, back)
    assert bridged.nics.get().address is None
    people.done(bridged)
    Uplink.objects.all().delete()
    bridged.nics.all().delete()
    with pytest.raises(Refused, match="not connected to the network “office” of then"):
        snapshots.snapshot_revert(machine=bridged, snapshot=snapshot, by=ann)


def test_what_a_host_put_right_by_itself_is_read_by_its_administrator_with_names(
    browser: Client, rack: Host, lan: Network
) -> None:
    assert "Nothing was amiss" in browser.get("/hosts/rack-1/").content.decode()
    usage = people.heartbeat().usage
    repairs = (Repair(at=1_795_000_000, what=f"bridge and dnsmasq of {lan.pk}"), Repair(at=1, what="<rules>"))
    people.host_heard("rack-1", usage=usage.model_copy(update={"repairs": repairs}))
    page = browser.get("/hosts/rack-1/").content.decode()
    assert f"bridge and dnsmasq of “{lan.name}”" in page
    assert "18 Nov" in page
    assert "&lt;rules&gt;" in page
    assert "Nothing was amiss" not in page
