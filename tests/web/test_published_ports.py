"""Published ports: which are given out, what is refused, what a person types, and what the host is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import LazySettings

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.fleet.models import Host
from portal.machines import hardware, reports, services, snapshots
from portal.machines.cloning import machine_clone
from portal.machines.models import Machine, Snapshot
from portal.networks import ports
from portal.networks.models import Network, PublishedPort
from portal.refusal import Refused
from tests.web import people
from tests.web.people import nobody, signed_in
from workers.contract.messages import ApplyMachine, Observed, OperationState
from workers.contract.networks import Protocol
from workers.contract.spec import MachineSpec, NicModel
from workers.contract.version import from_wire

WAY = people.interface("eth0", addresses=("fe80::1/64", "192.0.2.7/24"), has_default_route=True)


def asked(machine: Machine) -> MachineSpec:
    return from_wire(ApplyMachine, people.newest(machine).message).spec


def publish(machine: Machine, guest_port: int = 22, **fields: Any) -> Operation:
    wanted: dict[str, Any] = {"protocol": Protocol.TCP, "host_port": None}
    if "nic_id" not in fields:
        wanted["nic_id"] = machine.nics.get().pk
    return ports.port_publish(machine=machine, guest_port=guest_port, by=machine.owner, **(wanted | fields))


@pytest.fixture
def box(ann: User, rack: Host) -> Machine:
    """Another machine of Ann's."""
    return people.done(people.machine_of(ann, "box"))


def test_a_person_publishes_ports_and_is_told_what_to_type(running: Machine, ann: User) -> None:
    people.host_heard(interfaces=(WAY,))
    browser, address = signed_in(ann), f"/machines/{running.pk}/"
    nic = running.nics.get().pk
    for fields in (
        {"service": "ssh"},
        {"service": "http", "host_port": "28080"},
        {"service": "https"},
        {"service": "rdp"},
        {"service": "own", "guest_port": "5353", "protocol": "udp"},
    ):
        answer = browser.post(f"{address}ports/publish/", {"nic": str(nic), **fields})
        assert (answer.status_code, answer["Location"]) == (302, f"{address}network/"), fields
        assert people.newest(running).kind == Kind.CHANGE
    found = {(port.protocol, port.guest_port): port.host_port for port in asked(running).nics[0].ports}
    # TCP and UDP are counted each for itself.
    assert found == {
        ("tcp", 22): 20000, ("tcp", 80): 28080, ("tcp", 443): 20001, ("tcp", 3389): 20002, ("udp", 5353): 20000
    }  # fmt: skip
    text = browser.get(f"{address}network/").content.decode()
    for typed in (
        "ssh -p 20000 user@192.0.2.7",
        "http://192.0.2.7:28080",
        "https://192.0.2.7:20001",
        "192.0.2.7:20002",
    ):
        assert typed in text
    assert "192.0.2.7:20000" in browser.get(address).content.decode()
    port = PublishedPort.objects.get(protocol="udp")
    browser.post(f"{address}ports/{port.pk}/withdraw/")
    assert len(asked(running).nics[0].ports) == 4


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"service": "own"}, "Say which port"),
        ({"service": "own", "guest_port": "0"}, "from 1 to 65535"),
        ({"service": "own", "guest_port": "65536"}, "from 1 to 65535"),
        ({"service": "own", "guest_port": "x"}, "from 1 to 65535"),
        ({"service": "ssh", "host_port": "8000"}, "Ports from 20000 to 29999"),
        ({"service": "ssh", "host_port": "99999"}, "from 1 to 65535"),
        ({"service": "own", "guest_port": "53", "protocol": "any"}, "Choose one of these"),
        ({"service": "telnet"}, "Choose one of these"),
        ({"service": "ssh", "nic": str(nobody())}, "no such network card"),
        ({"service": "ssh", "nic": "x"}, "Choose one of these"),
    ],
)
def test_what_cannot_be_published_is_refused_at_its_field_and_kept_as_it_was_typed(
    running: Machine, ann: User, fields: dict[str, str], words: str
) -> None:
    nic = {"nic": str(running.nics.get().pk)}
    answer = signed_in(ann).post(f"/machines/{running.pk}/ports/publish/", nic | fields)
    assert answer.status_code == 422
    assert words in answer.content.decode()
    if "host_port" in fields:
        assert f'value="{fields["host_port"]}"' in answer.content.decode()
    assert not PublishedPort.objects.exists()


def test_a_card_of_somebody_elses_machine_is_none_of_this_one(running: Machine, ben: User, ann: User) -> None:
    others = people.done(people.machine_of(ben, "others"))
    with pytest.raises(Refused, match="no such network card"):
        publish(running, nic_id=others.nics.get().pk)
    publish(others)
    answer = signed_in(ann).post(
        f"/machines/{running.pk}/ports/{PublishedPort.objects.get().pk}/withdraw/", follow=True
    )
    assert "not published any more" in answer.content.decode()
    assert PublishedPort.objects.exists()


def test_a_port_that_is_taken_is_refused_by_name_to_who_may_know_it(
    running: Machine, box: Machine, ben: User, boss: User
) -> None:
    publish(running, host_port=20022)
    people.done(running)
    with pytest.raises(Refused, match="leads to the machine “web” already"):
        publish(box, host_port=20022)
    others = people.done(people.machine_of(ben, "others"))
    with pytest.raises(Refused, match="somebody else's already") as refusal:
        publish(others, host_port=20022)
    assert "web" not in refusal.value.message
    with pytest.raises(Refused, match="is reached at rack-1:20022 already"):
        publish(running)
    publish(others, host_port=20022, protocol=Protocol.UDP)
    elsewhere = people.host_heard("rack-2")
    assert not elsewhere.published_ports.exists()


def test_when_all_ports_are_taken_that_is_said(
    running: Machine, box: Machine, settings: LazySettings
) -> None:
    settings.PUBLISHED_PORTS = range(20000, 20001)
    publish(running)
    with pytest.raises(Refused, match="from 20000 to 20000 are in use"):
        publish(box)
    ports.port_withdraw(machine=running, port_id=PublishedPort.objects.get().pk, by=running.owner)
    publish(box)


def test_ports_are_published_in_networks_behind_the_host_only(running: Machine, ann: User) -> None:
    network = Network.objects.create(name="lab", kind="isolated", subnet="10.9.0.0/24")
    hardware.card_add(machine=running, network=network, model=NicModel.VIRTIO, by=ann)
    people.done(running)
    with pytest.raises(Refused, match="“lab” is none"):
        publish(running, nic_id=running.nics.get(network=network).pk)


def test_a_change_that_fails_or_is_cancelled_publishes_and_withdraws_nothing(running: Machine) -> None:
    failed = publish(running)
    assert reports.progress_take(people.told(failed, OperationState.FAILED))
    assert not PublishedPort.objects.exists()
    publish(running, host_port=20022)
    people.done(running)
    ports.port_withdraw(machine=running, port_id=PublishedPort.objects.get().pk, by=running.owner)
    services.operation_cancel(machine=running, by=running.owner)
    assert PublishedPort.objects.get().host_port == 20022
    assert [port.host_port for port in asked(running).nics[0].ports] == [20022]


def test_a_clone_has_no_ports_and_going_back_leaves_those_of_now(running: Machine, ann: User) -> None:
    snapshots.snapshot_take(machine=running, name="before", description="", memory=False, by=ann)
    people.done(running)
    Snapshot.objects.update(is_ready=True)
    publish(running)
    people.done(running)
    back = snapshots.snapshot_revert(machine=running, snapshot=Snapshot.objects.get(), by=ann)
    assert [port.guest_port for port in from_wire(ApplyMachine, back.message).spec.nics[0].ports] == [22]
    people.done(running)
    assert PublishedPort.objects.count() == 1
    Snapshot.objects.all().delete()
    services.machine_force_off(machine=running, by=ann)
    people.done(running, Observed.OFF)
    clone = machine_clone(machine=running, name="twin", linked=False, start=False, by=ann)
    assert from_wire(ApplyMachine, clone.message).spec.nics[0].ports == ()
    assert PublishedPort.objects.count() == 1


def test_a_card_that_is_taken_out_takes_its_ports_with_it(running: Machine, ann: User) -> None:
    publish(running)
    people.done(running)
    hardware.card_remove(machine=running, nic_id=running.nics.get().pk, by=ann)
    assert PublishedPort.objects.exists()  # until its host has done it
    people.done(running)
    assert not PublishedPort.objects.exists()


def test_nothing_is_published_while_the_machine_is_just_being_made(machine: Machine) -> None:
    with pytest.raises(Refused, match="just starting"):
        publish(machine)
