"""Each step of making a machine fails for a real reason: it is said so, nothing is left, and the same wish succeeds later."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from uuid import uuid4

import pytest
from celery import Celery

from tests.lab import obstacles, wishes
from tests.lab.standing import Standing, standing_host
from workers.contract.errors import ErrorCode
from workers.contract.messages import (
    TASK_APPLY,
    OperationState,
    Step,
    StepState,
    host_queue,
)
from workers.contract.spec import DiscSpec, DiskBus, DiskKind, DiskSpec, MachineSpec, Power, StopMode
from workers.contract.version import CONTRACT_VERSION
from workers.plan.names import tap_name

MIB = 1024 * 1024
DISC = b"a disc of the library, as it should arrive" * 1000


@pytest.fixture(scope="module")
def _hosts() -> Iterator[Callable[[], Standing]]:
    """The host of the tests before, or a new one where they left something on it."""
    with ExitStack() as stack:
        standing: list[Standing] = []

        def clean_host() -> Standing:
            if not standing or standing[-1].traces():
                standing.append(stack.enter_context(standing_host()))
            return standing[-1]

        yield clean_host


@pytest.fixture
def place(_hosts: Callable[[], Standing]) -> Standing:
    """A host without a machine."""
    return _hosts()


@dataclass(frozen=True)
class Cause:
    """What is in the way, at which step that is met, and what is said of it."""

    obstacle: Callable[[Standing, MachineSpec], AbstractContextManager[None]]
    step: Step
    code: ErrorCode
    words: str


CAUSES = {
    "the library sends other bytes": Cause(
        lambda place, _: obstacles.library_that_sends(place.folder / "portal.sock", DISC[:-1] + b"!"),
        Step.FETCH_DISC, ErrorCode.DISC_DAMAGED, "checksum",
    ),
    "the library sends too much": Cause(
        lambda place, _: obstacles.library_that_sends(place.folder / "portal.sock", DISC + b"!"),
        Step.FETCH_DISC, ErrorCode.DISC_DAMAGED, "more than it announced",
    ),
    "qemu-img fails": Cause(
        lambda place, _: obstacles.broken_program(place.host, "qemu-img", words="no such luck"),
        Step.MAKE_DISKS, ErrorCode.DISK_FAILED, "qemu-img ended with status 1: no such luck",
    ),
    "another interface has the address": Cause(
        lambda place, _: obstacles.foreign_address(place.host.network, "192.168.57.1/24"),
        Step.PREPARE_NETWORK, ErrorCode.SUBNET_TAKEN, "foreign of this host has an address in 192.168.57.0/24",
    ),
    "another program has the name server's port": Cause(
        lambda place, _: obstacles.foreign_server(place.host.network, 53),
        Step.PREPARE_NETWORK, ErrorCode.DHCP_FAILED, "Address already in use",
    ),
    "dnsmasq fails": Cause(
        lambda place, _: obstacles.broken_program(place.host, "dnsmasq", words="not today"),
        Step.PREPARE_NETWORK, ErrorCode.DHCP_FAILED, "not today",
    ),
    "nft fails": Cause(
        lambda place, _: obstacles.broken_program(place.host, "nft", words="no netfilter here"),
        Step.PREPARE_NETWORK, ErrorCode.FIREWALL_FAILED, "nft ended with status 1: no netfilter here",
    ),
    "another interface has the tap's name": Cause(
        lambda place, machine: obstacles.foreign_link(place.host.network, tap_name(machine.nics[0])),
        Step.LAUNCH, ErrorCode.TAP_FAILED, "tap ot00000a",
    ),
    "qemu fails": Cause(
        lambda place, _: obstacles.broken_program(place.host, "qemu-system-x86_64", words="out of luck", status=3),
        Step.LAUNCH, ErrorCode.LAUNCH_FAILED, "exit status 3\nout of luck",
    ),
}  # fmt: skip


@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES.keys())
def test_what_fails_is_undone_and_the_same_wish_succeeds_when_the_cause_is_gone(
    place: Standing, cause: Cause
) -> None:
    machine = wishes.spec(memory_mib=64, disc=_disc())
    with cause.obstacle(place, machine):
        if cause.step is not Step.FETCH_DISC:
            _put_disc(place, machine)
        end = place.apply(machine)
        assert (end.state, end.error and end.error.code) == (OperationState.FAILED, cause.code), end
        assert end.error is not None
        assert cause.words in end.error.detail
        assert [step.step for step in end.steps if step.state is StepState.FAILED] == [cause.step]
    assert place.traces() == {}
    with obstacles.library_that_sends(place.folder / "portal.sock", DISC):
        place.done(machine)
    assert len(place.host.qemus()) == 1
    place.delete(machine)
    assert place.traces() == {}


def test_a_library_that_cannot_be_reached_is_said_to_be_so(place: Standing) -> None:
    machine = wishes.spec(memory_mib=64, disc=_disc())
    end = place.apply(machine)
    assert end.error is not None
    assert end.error.code is ErrorCode.DISC_UNREACHABLE
    assert place.traces() == {}
    place.delete(machine)


def test_a_machine_for_which_the_memory_does_not_suffice_is_not_started(place: Standing) -> None:
    machine = wishes.spec(memory_mib=4 * 1024 * 1024)
    end = place.apply(machine)
    assert end.error is not None
    assert end.error.code is ErrorCode.MEMORY_SHORT
    assert "4194304 MiB wanted" in end.error.detail
    assert place.traces() == {}
    smaller = place.done(wishes.later(machine, memory_mib=64))
    place.delete(smaller)


def test_a_machine_that_cannot_be_described_to_qemu_leaves_no_cable_behind(place: Standing) -> None:
    disks = tuple(
        DiskSpec(id=uuid4(), size_bytes=MIB, kind=DiskKind.GROWING, bus=DiskBus.SATA, slot=slot)
        for slot in range(6)
    )
    machine = wishes.spec(memory_mib=64, disks=disks)
    end = place.apply(machine)
    assert end.error is not None
    assert "more than 5 SATA disks" in end.error.detail
    assert place.traces() == {}
    place.delete(place.done(wishes.later(machine, disks=disks[:5])))


def test_a_neighbour_in_the_same_network_keeps_its_cable_when_another_fails(place: Standing) -> None:
    neighbour = place.done(wishes.spec(number=11, name="neighbour", memory_mib=64))
    before = place.traces()
    machine = wishes.spec(memory_mib=64)
    with obstacles.broken_program(place.host, "qemu-system-x86_64", words="out of luck"):
        assert place.apply(machine).state is OperationState.FAILED
    assert place.traces() == before
    rules = place.host.network.rules()
    assert (rules.count("goto from_ot00000b"), rules.count("from_ot00000a")) == (1, 0)
    place.delete(neighbour)
    place.delete(machine)


def test_deleting_leaves_nothing_at_all(place: Standing) -> None:
    machine = place.done(wishes.spec(memory_mib=64))
    assert {"links", "tables", "dnsmasq", "qemu", "networks", "forwarding"} <= place.traces().keys()
    place.delete(machine)
    assert place.traces() == {}
    assert [path for path in place.host.state.root.rglob("*") if str(machine.machine_id) in path.name] == [
        place.host.state.tombstones / f"{machine.machine_id}.json"
    ]


def test_a_deletion_that_failed_goes_on_where_it_stopped(place: Standing) -> None:
    machine = place.done(wishes.spec(memory_mib=64))
    gone = wishes.later(machine, power=Power.GONE)
    with obstacles.broken_program(place.host, "nft", words="no netfilter here"):
        end = place.apply(gone)
        assert end.error is not None
        assert end.error.code is ErrorCode.FIREWALL_FAILED
    assert place.traces().keys() == {"tables"}
    place.done(gone)
    assert place.traces() == {}


@pytest.mark.parametrize("point", ["stop begins", "rules set", "remove done", "handled"])
def test_killed_while_deleting_the_next_worker_leaves_nothing(place: Standing, point: str) -> None:
    machine = place.done(wishes.spec(memory_mib=64))
    place.host.kill()
    place.host.set(OFFSHOOT_DIE_AT=point)
    place.host.start()
    gone = wishes.later(machine, power=Power.GONE)
    place.ear.ask(place.host.name, wishes.wish(gone))
    place.host.wait_for_death()
    place.host.set(OFFSHOOT_DIE_AT="")
    place.host.start()
    place.done(gone)  # the portal asks again where it heard of no end
    assert place.traces() == {}
    assert not place.host.folder(machine.machine_id).root.exists()


def test_a_deletion_that_is_asked_for_again_while_it_goes_on_ends_well_each_time(place: Standing) -> None:
    for _ in range(4):
        machine = place.done(wishes.spec(memory_mib=64, power=Power.OFF))
        gone = wishes.later(machine, power=Power.GONE)
        asked = [wishes.wish(gone) for _ in range(30)]
        for each in asked:
            place.ear.ask(place.host.name, each)
        ends = [place.ear.end_of(each.operation_id) for each in asked]
        assert {end.state for end in ends} == {OperationState.DONE}, [end.error for end in ends]
        assert not place.host.folder(machine.machine_id).root.exists()
    assert place.traces() == {}


def test_the_same_wish_twice_changes_nothing(place: Standing) -> None:
    machine = place.done(wishes.spec(memory_mib=64))
    before = place.traces()
    folder = place.host.folder(machine.machine_id)
    files = {
        path: path.stat().st_ino for path in folder.root.rglob("*") if path.suffix not in (".json", ".log")
    }
    end = place.apply(machine)
    assert (end.state, end.steps) == (OperationState.DONE, ())
    assert place.traces() == before
    assert {path: path.stat().st_ino for path in files} == files
    place.delete(machine)


def test_an_older_wish_is_ignored(place: Standing) -> None:
    first = place.done(wishes.spec(memory_mib=64))
    place.done(wishes.later(first, name="renamed"))
    before = place.traces()
    end = place.apply(first.model_copy(update={"power": Power.OFF, "stop_mode": StopMode.FORCE}))
    assert end.state is OperationState.SUPERSEDED
    assert place.traces() == before
    place.delete(wishes.later(first))
    assert place.apply(first).state is OperationState.SUPERSEDED
    assert place.traces() == {}


def test_a_message_of_another_version_is_refused_aloud_and_the_worker_goes_on(place: Standing) -> None:
    wish = wishes.wish(wishes.spec(memory_mib=64))
    _send(place, wish.to_wire() | {"version": CONTRACT_VERSION + 1})
    end = place.ear.end_of(wish.operation_id)
    assert end.error is not None
    assert (end.state, end.error.code) == (OperationState.FAILED, ErrorCode.VERSION_UNKNOWN)
    assert f"version {CONTRACT_VERSION + 1}" in end.error.detail
    assert place.traces() == {}
    place.delete(place.done(wish.spec))


@pytest.mark.parametrize("damage", ["a field too many", "a path for an id", "a name that is none"])
def test_a_malformed_message_is_refused_aloud_and_does_nothing(place: Standing, damage: str) -> None:
    wish = wishes.wish(wishes.spec(memory_mib=64))
    wire = wish.to_wire()
    spec = wire["body"]["spec"]
    if damage == "a field too many":
        spec["argv"] = ["-monitor", "stdio"]
    elif damage == "a path for an id":
        spec["disks"][0]["id"] = "../../etc/passwd"
    else:
        spec["name"] = ""
    _send(place, wire)
    end = place.ear.end_of(wish.operation_id)
    assert end.error is not None
    assert (end.state, end.error.code) == (OperationState.FAILED, ErrorCode.BAD_MESSAGE)
    assert place.traces() == {}
    assert not place.host.folder(wish.spec.machine_id).root.exists()


@pytest.mark.parametrize("wire", [None, "words", {"version": 1}, {"version": 1, "body": []}])
def test_a_message_that_is_none_does_not_stop_the_worker(place: Standing, wire: object) -> None:
    _send(place, wire)
    place.delete(place.done(wishes.spec(memory_mib=64)))


def _disc() -> DiscSpec:
    return DiscSpec(image_id=uuid4(), size_bytes=len(DISC), sha256=hashlib.sha256(DISC).hexdigest())


def _put_disc(place: Standing, machine: MachineSpec) -> None:
    assert machine.disc is not None
    path = place.host.state.images / f"{machine.disc.image_id}.iso"
    path.write_bytes(DISC)
    path.chmod(0o644)


def _send(place: Standing, wire: object) -> None:
    with Celery("raw", broker=place.broker.url) as app:
        app.send_task(TASK_APPLY, args=[wire], queue=host_queue(place.host.name), retry=False)
