"""The firewall of a machine: what new ones get, rules in sentences, their order, and what is refused."""

from __future__ import annotations

import pytest
from django.test import Client

from portal.accounts.models import User
from portal.activity.models import Kind
from portal.machines import firewall_changes, hardware, reports, snapshots
from portal.machines.firewall import for_new_machine, kept, mark_of, stored
from portal.machines.models import Machine, Snapshot
from portal.machines.rule_words import sentence
from portal.refusal import Refused
from tests.web import people
from tests.web.people import signed_in
from workers.contract.messages import ApplyMachine, OperationState
from workers.contract.networks import Direction, FirewallRule, FirewallSpec, Protocol
from workers.contract.spec import GuestKind
from workers.contract.version import from_wire


def asked(machine: Machine) -> FirewallSpec | None:
    """The firewall that the host is to apply."""
    return from_wire(ApplyMachine, people.newest(machine).message).spec.firewall


def sentences(machine: Machine) -> list[str]:
    machine.refresh_from_db()
    now = kept(machine.firewall)
    return [sentence(rule) for rule in now.spec.rules] if now else []


def mark(machine: Machine) -> str:
    machine.refresh_from_db()
    now = kept(machine.firewall)
    assert now is not None
    return mark_of(now.spec)


@pytest.fixture
def browser(ann: User) -> Client:
    return signed_in(ann)


@pytest.fixture
def address(running: Machine) -> str:
    return f"/machines/{running.pk}/firewall/"


def test_a_new_machine_lets_in_ping_and_ssh_and_windows_its_remote_desktop(
    running: Machine, ann: User
) -> None:
    assert asked(running) == for_new_machine(GuestKind.LINUX)
    assert sentences(running) == ["Allow ping from anywhere", "Allow SSH (TCP 22) from anywhere"]
    windows = people.machine_of(ann, "desk", guest=GuestKind.WINDOWS)
    assert sentences(windows)[2:] == ["Allow RDP (TCP 3389) from anywhere"]
    now = asked(running)
    assert now is not None
    assert (now.allow_in, now.allow_out) == (False, True)


def test_a_machine_of_before_keeps_its_firewall_off_until_somebody_switches_it_on(
    running: Machine, browser: Client, address: str
) -> None:
    Machine.objects.update(firewall=None)
    hardware.machine_change_size(
        machine=running, name="web", cpus=2, memory_mib=512, memory_most_mib=None, by=running.owner
    )
    assert asked(running) is None
    page = browser.get(f"/machines/{running.pk}/network/").content.decode()
    assert "When it is switched on, ping and SSH are let in" in page
    assert "One more rule" not in page
    rule = FirewallRule(direction=Direction.IN, allow=True)
    with pytest.raises(Refused, match="firewall is off"):
        firewall_changes.rules_add(machine=running, rules=(rule,), by=running.owner)
    browser.post(address, {"state": "on", "comes_in": "blocked", "goes_out": "allowed"})
    assert asked(running) == for_new_machine(GuestKind.LINUX)


def test_switched_off_its_rules_are_kept_and_nothing_of_them_reaches_the_host(
    running: Machine, browser: Client, address: str
) -> None:
    before = sentences(running)
    browser.post(address, {"state": "off", "comes_in": "blocked", "goes_out": "allowed"})
    assert asked(running) is None
    assert sentences(running) == before
    assert (
        "not in force while the firewall is off"
        in browser.get(f"/machines/{running.pk}/network/").content.decode()
    )
    again = browser.post(address, {"state": "off", "comes_in": "blocked", "goes_out": "allowed"})
    assert "so already" in again.content.decode()
    browser.post(address, {"state": "on", "comes_in": "allowed", "goes_out": "blocked"})
    now = asked(running)
    assert now is not None
    assert (now.allow_in, now.allow_out, len(now.rules)) == (True, False, len(before))


RULES: list[tuple[dict[str, str], list[str]]] = [
    ({"what": "web"}, ["Allow HTTP (TCP 80) from anywhere", "Allow HTTPS (TCP 443) from anywhere"]),
    ({"what": "rdp", "peer": "192.0.2.7"}, ["Allow RDP (TCP 3389) from 192.0.2.7"]),
    ({"what": "everything", "action": "block", "direction": "out", "peer": "10.0.0.0/8"}, ["Block everything to 10.0.0.0/8"]),
    ({"what": "everything", "peer": "2001:db8::/32"}, ["Allow everything from 2001:db8::/32"]),
    ({"what": "own", "ports": "8000 - 8100", "protocol": "udp"}, ["Allow UDP 8000–8100 from anywhere"]),
    ({"what": "own", "ports": "53", "protocol": "udp", "direction": "out"}, ["Allow DNS (UDP 53) to anywhere"]),
    ({"what": "ping", "peer": "::1/128"}, ["Allow ping from ::1"]),
    ({"what": "ssh", "action": "block", "peer": "0.0.0.0/0"}, ["Block SSH (TCP 22) from 0.0.0.0/0"]),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "words"), RULES)
def test_a_rule_is_added_and_reads_as_a_sentence(
    running: Machine, browser: Client, address: str, fields: dict[str, str], words: list[str]
) -> None:
    rule = {"action": "allow", "direction": "in"} | fields
    answer = browser.post(f"{address}rules/add/", rule)
    assert answer.status_code == 302
    assert sentences(running)[2:] == words
    now = asked(running)
    assert now is not None
    assert len(now.rules) == 2 + len(words)
    again = browser.post(f"{address}rules/add/", rule)
    assert "there already" in again.content.decode()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"what": "own", "ports": ""}, "Give a port like 8080"),
        ({"what": "own", "ports": "0"}, "Give a port like 8080"),
        ({"what": "own", "ports": "70000"}, "Give a port like 8080"),
        ({"what": "own", "ports": "90-80"}, "Give a port like 8080"),
        ({"what": "own", "ports": "80; drop"}, "Give a port like 8080"),
        ({"what": "own", "ports": "80", "protocol": "icmp"}, "Choose one of these"),
        ({"what": "ssh", "peer": "somebody"}, "Give an address like"),
        ({"what": "ssh", "peer": "fe80::1%eth0"}, "Give an address like"),
        ({"what": "ssh", "peer": "10.0.0.5/8"}, "begins at 10.0.0.0/8"),
        ({"what": "ssh", "peer": "::ffff:10.0.0.1"}, "Write it as 10.0.0.1"),
        ({"what": "ssh", "peer": "::ffff:10.0.0.0/104"}, "Write it as 10.0.0.0"),
        ({"what": "ssh", "peer": "10.0.0.1 } accept; {"}, "Give an address like"),
        ({"what": "nothing"}, "Choose one of these"),
        ({"what": "ssh", "direction": "sideways"}, "Choose one of these"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_at_its_field_and_kept_as_it_was_typed(
    running: Machine, browser: Client, address: str, fields: dict[str, str], words: str
) -> None:
    before = sentences(running)
    answer = browser.post(f"{address}rules/add/", {"action": "allow", "direction": "in"} | fields)
    assert answer.status_code == 422
    text = answer.content.decode()
    assert words in text
    assert f'value="{fields["peer"]}"' in text if "peer" in fields else True
    assert sentences(running) == before


def test_rules_change_places_and_go_and_a_page_of_before_touches_nothing(
    running: Machine, browser: Client, address: str
) -> None:
    ping, ssh = sentences(running)
    old = mark(running)
    browser.post(f"{address}rules/move/", {"number": 0, "mark": old, "way": "down"})
    assert sentences(running) == [ssh, ping]
    assert people.newest(running).kind == Kind.CHANGE
    for path, fields in (
        ("remove", {"number": 0, "mark": old}),  # it speaks of the order of before
        ("remove", {"number": 2, "mark": mark(running)}),
        ("remove", {"number": -1, "mark": mark(running)}),
        ("remove", {"number": "x"}),
        ("move", {"number": 0, "mark": mark(running), "way": "up"}),
        ("move", {"number": 1, "mark": mark(running), "way": "down"}),
    ):
        text = browser.post(f"{address}rules/{path}/", fields, follow=True).content.decode()
        assert "Nothing was changed" in text or "nothing was changed" in text, (path, fields)
        assert sentences(running) == [ssh, ping]
    browser.post(f"{address}rules/move/", {"number": 1, "mark": mark(running), "way": "up"})
    browser.post(f"{address}rules/remove/", {"number": 0, "mark": mark(running)})
    assert sentences(running) == [ssh]


def test_a_thousand_rules_are_too_many(running: Machine, browser: Client, address: str) -> None:
    rules = [
        FirewallRule(
            direction=Direction.IN, allow=True, protocol=Protocol.TCP, first_port=port, last_port=port
        )
        for port in range(1001, 2001)
    ]
    with pytest.raises(Refused, match="at most 64 rules"):
        firewall_changes.rules_add(machine=running, rules=tuple(rules), by=running.owner)
    spec = FirewallSpec(allow_in=False, allow_out=True, rules=tuple(rules[100:163]))
    Machine.objects.update(firewall=stored(spec))
    answer = browser.post(f"{address}rules/add/", {"action": "allow", "direction": "in", "what": "web"})
    assert answer.status_code == 422  # it is two of them
    assert (
        browser.post(
            f"{address}rules/add/", {"action": "allow", "direction": "in", "what": "ping"}
        ).status_code
        == 302
    )
    assert len(sentences(running)) == 64


def test_a_change_of_the_firewall_that_fails_is_taken_back(running: Machine, ann: User) -> None:
    before = sentences(running)
    rule = FirewallRule(direction=Direction.IN, allow=True)
    failed = firewall_changes.rules_add(machine=running, rules=(rule,), by=ann)
    assert reports.progress_take(people.told(failed, OperationState.FAILED))
    assert sentences(running) == before


def test_going_back_to_a_snapshot_opens_no_firewall(running: Machine, ann: User) -> None:
    Machine.objects.update(firewall=None)
    snapshots.snapshot_take(machine=running, name="open", description="", memory=False, by=ann)
    people.done(running)
    Snapshot.objects.update(is_ready=True)
    firewall_changes.firewall_set(machine=running, is_on=True, allow_in=False, allow_out=True, by=ann)
    people.done(running)
    snapshots.snapshot_revert(machine=running, snapshot=Snapshot.objects.get(), by=ann)
    assert asked(running) == for_new_machine(GuestKind.LINUX)
