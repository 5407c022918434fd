"""Changed hardware as the portal sees it: what is asked of the host, what is refused, and what the rows say in the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.fleet.selectors import candidates
from portal.machines import hardware, reports, services
from portal.machines.models import Disk, Machine, Snapshot
from portal.machines.pending import pending_words
from portal.networks.services import private_network
from portal.refusal import Refused
from tests.web import people
from tests.web.people import nobody, signed_in
from workers.contract.errors import ErrorCode
from workers.contract.messages import ApplyMachine, ErrorReport, Observed, OperationState
from workers.contract.spec import GIB, BootFrom, DiskBus, DiskKind, MachineSpec, NicModel
from workers.contract.version import from_wire

DONE, FAILED, SUPERSEDED = OperationState.DONE, OperationState.FAILED, OperationState.SUPERSEDED


def asked(operation: Operation) -> MachineSpec:
    """What the host is asked to make of the machine."""
    assert operation.kind in (Kind.CHANGE, Kind.CANCEL)
    return from_wire(ApplyMachine, operation.message).spec


def end(operation: Operation, state: OperationState = DONE) -> None:
    error = ErrorReport(code=ErrorCode.HARDWARE_REFUSED, detail="disk1-device") if state is FAILED else None
    assert reports.progress_take(people.told(operation, state, error=error))


def size(machine: Machine, **changes: Any) -> Operation:
    wanted: dict[str, Any] = {"name": "web", "cpus": 1, "memory_mib": 512, "memory_most_mib": None}
    return hardware.machine_change_size(machine=machine, by=machine.owner, **(wanted | changes))


def add_disk(machine: Machine, **changes: Any) -> Operation:
    wanted: dict[str, Any] = {"size_bytes": 5 * GIB, "kind": DiskKind.GROWING, "bus": DiskBus.VIRTIO}
    return hardware.disk_add(machine=machine, by=machine.owner, **(wanted | changes))


def add_card(machine: Machine, model: NicModel = NicModel.VIRTIO) -> Operation:
    return hardware.card_add(machine=machine, network=private_network(), model=model, by=machine.owner)


def remove_disk(machine: Machine, disk: Disk, *, is_sure: bool = True) -> Operation:
    return hardware.disk_remove(machine=machine, disk_id=disk.pk, is_sure=is_sure, by=machine.owner)


def boot(machine: Machine, boot_from: BootFrom, slot: int | None = None) -> Operation:
    return hardware.machine_change_boot(machine=machine, boot_from=boot_from, slot=slot, by=machine.owner)


def test_name_processors_and_memory_are_asked_of_the_host_and_the_most_is_promised(running: Machine) -> None:
    free_before = candidates()[0].memory_free_mib
    spec = asked(size(running, name="shop", cpus=4, memory_mib=1024, memory_most_mib=4096))
    assert (spec.name, spec.cpus, spec.memory_mib, spec.memory_most_mib) == ("shop", 4, 1024, 4096)
    running.refresh_from_db()
    assert running.name == "shop"
    heard = people.host_heard(memory_total_mib=8192, memory_free_mib=8192)
    assert candidates()[0].memory_free_mib == heard.memory_total_mib - 4096 < free_before


def test_a_disk_and_a_card_get_the_lowest_free_place(running: Machine) -> None:
    end(add_disk(running))
    end(remove_disk(running, running.disks.get(position=0)))
    spec = asked(add_disk(running, kind=DiskKind.FIXED, bus=DiskBus.SATA))
    assert [(disk.slot, disk.kind, disk.bus) for disk in spec.disks] == [
        (0, DiskKind.FIXED, DiskBus.SATA),
        (1, DiskKind.GROWING, DiskBus.VIRTIO),
    ]
    spec = asked(add_card(running))
    assert [nic.slot for nic in spec.nics] == [0, 1]
    assert len({nic.address for nic in spec.nics} | {nic.mac for nic in spec.nics}) == 4


def test_a_disk_grows_and_never_shrinks(running: Machine) -> None:
    disk = running.disks.get()
    grow = hardware.disk_grow
    assert (
        asked(grow(machine=running, disk_id=disk.pk, size_bytes=20 * GIB, by=running.owner))
        .disks[0]
        .size_bytes
        == 20 * GIB
    )
    for smaller in (20 * GIB, 10 * GIB):
        with pytest.raises(Refused, match="never shrinks"):
            grow(machine=running, disk_id=disk.pk, size_bytes=smaller, by=running.owner)


def test_what_it_starts_from_is_a_disk_that_it_has(running: Machine) -> None:
    end(add_disk(running))
    spec = asked(boot(running, BootFrom.DISK, 1))
    assert (spec.boot_from, spec.boot_slot) == (BootFrom.DISK, 1)
    with pytest.raises(Refused, match="no such disk"):
        boot(running, BootFrom.DISK, 7)
    # The disk that was first is removed: the next one takes its place.
    assert asked(remove_disk(running, running.disks.get(position=1))).boot_slot == 0


def test_what_is_removed_keeps_its_row_and_its_address_until_the_host_has_done_it(running: Machine) -> None:
    end(add_card(running))
    card = running.nics.get(position=1)
    removal = hardware.card_remove(machine=running, nic_id=card.pk, by=running.owner)
    assert [nic.mac for nic in asked(removal).nics] == [running.nics.get(position=0).mac]
    assert running.nics.get(position=1).is_leaving
    end(removal)
    assert not running.nics.filter(position=1).exists()

    disk_removal = remove_disk(running, running.disks.get())
    # A later wish does not bring it back, and carries the removal out where it was overtaken.
    spec = asked(size(running, cpus=2))
    assert spec.disks == ()
    end(disk_removal, SUPERSEDED)
    assert running.disks.get().is_leaving
    end(people.newest(running))
    assert not running.disks.exists()


def test_an_old_card_of_a_running_machine_keeps_its_address_until_the_next_start(running: Machine) -> None:
    end(add_card(running, NicModel.E1000))
    card = running.nics.get(position=1)
    end(hardware.card_remove(machine=running, nic_id=card.pk, by=running.owner))
    assert running.nics.get(position=1).is_leaving
    services.machine_restart(machine=running, by=running.owner)
    people.done(running)
    assert not running.nics.filter(position=1).exists()


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_a_change_that_fails_or_is_cancelled_is_taken_back(running: Machine, how: str) -> None:
    def ended(operation: Operation) -> None:
        if how == "failed":
            end(operation, FAILED)
            return
        before = asked(operation)
        cancel = services.operation_cancel(machine=running, by=running.owner)
        assert asked(cancel) != before
        end(operation, SUPERSEDED)
        end(cancel)

    ended(size(running, name="shop", cpus=4, memory_mib=2048))
    running.refresh_from_db()
    assert (running.cpus, running.memory_mib, running.name) == (1, 512, "shop")

    ended(add_disk(running))
    disk = running.disks.get()
    ended(hardware.disk_grow(machine=running, disk_id=disk.pk, size_bytes=99 * GIB, by=running.owner))
    assert running.disks.get().size_bytes == disk.size_bytes

    ended(remove_disk(running, disk))
    assert not running.disks.get().is_leaving

    ended(add_card(running))
    card = running.nics.get()
    ended(hardware.card_remove(machine=running, nic_id=card.pk, by=running.owner))
    assert not running.nics.get().is_leaving
    running.refresh_from_db()
    assert running.power == "running"


def _too_many_disks(machine: Machine) -> object:
    Disk.objects.bulk_create(
        Disk(machine=machine, position=slot, size_bytes=GIB, kind=DiskKind.GROWING, bus=DiskBus.VIRTIO)
        for slot in range(1, 16)
    )
    return add_disk(machine)


def _too_many_old_disks(machine: Machine) -> object:
    for _each in range(5):
        add_disk(machine, bus=DiskBus.SATA)
    return None


def _too_many_cards(machine: Machine) -> object:
    for _each in range(8):
        add_card(machine)
    return None


def _while_it_starts(machine: Machine) -> object:
    services.machine_restart(machine=machine, by=machine.owner)
    return add_disk(machine)


def _while_it_hibernates(machine: Machine) -> object:
    people.done(machine, Observed.SAVED)
    return add_card(machine)


def _while_it_is_paused(machine: Machine) -> object:
    people.done(machine, Observed.PAUSED)
    return remove_disk(machine, machine.disks.get())


def _with_snapshots(machine: Machine) -> object:
    Snapshot.objects.create(machine=machine, name="before", spec={})
    return add_disk(machine)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: size(m, cpus=9), "only 8 processors"),
        (lambda m: size(m, memory_mib=70_000), "not that much memory"),
        (lambda m: size(m, memory_mib=512, memory_most_mib=70_000), "not that much memory"),
        (size, "so already"),
        (lambda m: add_disk(m, kind=DiskKind.FIXED, size_bytes=5000 * GIB), "disk space free"),
        (lambda m: add_disk(m, pool="fast"), "has no pool"),
        (lambda m: remove_disk(m, m.disks.get(), is_sure=False), "may be deleted"),
        (lambda m: hardware.card_remove(machine=m, nic_id=nobody(), by=m.owner), "no such network card"),
        (lambda m: remove_disk(m, Disk(pk=nobody())), "no such disk"),
        (_too_many_disks, "at most 16 disks"),
        (_too_many_old_disks, "at most 4 SATA disks"),
        (_too_many_cards, "at most 8 network cards"),
        (_while_it_starts, "just starting"),
        (_while_it_hibernates, "hibernated"),
        (_while_it_is_paused, "paused"),
        (_with_snapshots, "has snapshots"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(
    running: Machine, change: Callable[[Machine], object], words: str
) -> None:
    with pytest.raises(Refused, match=words):
        change(running)


def test_a_name_that_is_taken_is_refused_at_its_field(running: Machine, ann: User) -> None:
    people.machine_of(ann, "shop")
    with pytest.raises(Refused, match="of this name") as refusal:
        size(running, name="shop")
    assert refusal.value.field == "name"


def test_that_snapshots_hold_the_disks_as_they_are_is_said_before_anybody_asks(
    running: Machine, ann: User
) -> None:
    words = "delete them before a disk is added, made larger or removed"
    browser, address = signed_in(ann), f"/machines/{running.pk}/hardware/"
    assert words not in browser.get(address).content.decode()
    snapshot = Snapshot.objects.create(machine=running, name="before", spec={})
    assert words in browser.get(address).content.decode()
    snapshot.delete()
    assert words not in browser.get(address).content.decode()


def test_what_waits_for_the_next_start_stands_on_every_page_with_a_button(
    running: Machine, ann: User
) -> None:
    size(running, cpus=4, memory_mib=2048)
    add_disk(running, bus=DiskBus.SATA)
    pending = ("cpus=1", "memory=512", "memory_most=512", "disk:1", "nic:3", "something=new", "firmware")
    people.done(running, pending=pending)
    words = pending_words(running)
    assert words == [
        "4 processors (now 1)",
        "2 GB of memory (now 512 MB)",
        "at most 2 GB of memory (now 512 MB)",
        "disk 2 is plugged in",
        "network card 4 is taken out",
        "another firmware",
    ]
    for page in ("", "hardware/"):
        text = signed_in(ann).get(f"/machines/{running.pk}/{page}").content.decode()
        assert "From the next start on: 4 processors (now 1)" in text
        assert "Restart now" in text


def test_a_change_that_was_taken_back_waits_for_nothing(running: Machine) -> None:
    people.done(running, pending=("cpus=1", "memory=512"))
    assert pending_words(running) == []


def test_the_page_asks_for_each_change_and_keeps_what_was_typed_where_it_is_wrong(
    running: Machine, ann: User
) -> None:
    browser, address = signed_in(ann), f"/machines/{running.pk}/"
    disk, card = running.disks.get(), running.nics.get()
    page = browser.get(f"{address}hardware/").content.decode()
    assert "Disk 1, 10 GB" in page
    right: list[tuple[str, dict[str, object]]] = [
        ("hardware/size/", {"name": "shop", "cpus": 2, "memory_gib": "0.5", "memory_most_gib": "2"}),
        ("disks/add/", {"disk_gib": 3, "disk_kind": "growing", "disk_bus": "virtio"}),
        (f"disks/{disk.pk}/grow/", {"grow_gib": 12}),
        ("cards/add/", {"network": private_network().pk, "nic_model": "virtio"}),
        ("hardware/boot/", {"first": "disc"}),
        (f"disks/{disk.pk}/remove/", {"sure": "on"}),
        (f"cards/{card.pk}/remove/", {}),
    ]
    for path, data in right:
        before = people.newest(running)
        answer = browser.post(address + path, data)
        assert (answer.status_code, answer["Location"]) == (302, f"{address}hardware/"), path
        assert people.newest(running).kind == Kind.CHANGE, path
        assert people.newest(running).pk != before.pk, path
    spec = asked(people.newest(running))
    assert (spec.name, spec.cpus, spec.memory_most_mib, spec.boot_from) == ("shop", 2, 2048, BootFrom.DISC)
    assert [(each.slot, each.size_bytes) for each in spec.disks] == [(1, 3 * GIB)]
    assert [nic.slot for nic in spec.nics] == [1]

    wrong: list[tuple[str, dict[str, object], str]] = [
        ("hardware/size/", {"name": "mine", "cpus": 999, "memory_gib": "1"}, "1 to 256 processors"),
        (
            "hardware/size/",
            {"name": "mine", "cpus": 1, "memory_gib": "2", "memory_most_gib": "1"},
            "less than the memory",
        ),
        ("disks/add/", {"disk_gib": "", "disk_kind": "growing", "disk_bus": "virtio"}, "1 to 65536"),
        ("disks/add/", {"disk_gib": 3, "disk_kind": "melting", "disk_bus": "virtio"}, "Choose one of these"),
        (f"disks/{spec.disks[0].id}/grow/", {"grow_gib": 2}, "never shrinks"),
        ("hardware/boot/", {"first": "floppy"}, "Choose one of these"),
        ("cards/add/", {"network": nobody(), "nic_model": "virtio"}, "Choose one of these"),
    ]
    before = people.newest(running)
    for path, data, words in wrong:
        answer = browser.post(address + path, data)
        assert answer.status_code == 422, path
        assert words in answer.content.decode(), path
    assert 'value="mine"' in browser.post(address + wrong[0][0], wrong[0][1]).content.decode()
    assert people.newest(running).pk == before.pk
