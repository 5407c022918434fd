"""What people do with machines: each wish is written with its operation, or refused in words and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from django.forms.models import model_to_dict
from pytest_django import DjangoAssertNumQueries

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.fleet.models import Host
from portal.fleet.selectors import candidates
from portal.machines import reports, services
from portal.machines.forms import NewMachineForm
from portal.machines.models import Disk, Machine, Nic
from portal.machines.selectors import status_with
from portal.machines.services import clean_name
from portal.machines.specs import spec_of
from portal.networks.models import Network
from portal.networks.services import private_network
from portal.quotas.amounts import Limits
from portal.quotas.services import quota_set
from portal.refusal import Refused
from tests.web.people import (
    done,
    host_heard,
    image_named,
    machine_of,
    newest,
    nobody,
    seen,
    signed_in,
    silence,
    told,
    wish,
)
from workers.contract.errors import ErrorCode
from workers.contract.messages import ApplyMachine, EndReason, ErrorReport, Observed, OperationState
from workers.contract.spec import GIB, BootFrom, DiskBus, DiskKind, NicModel, Power, StopMode
from workers.contract.version import from_wire


def everything() -> list[dict[str, Any]]:
    """All that a wish could have changed."""
    models = (Machine, Disk, Nic, Operation)
    return [model_to_dict(row) | {"pk": row.pk} for model in models for row in model.objects.order_by("pk")]


def message_of(operation: Operation) -> ApplyMachine:
    """What its host is sent, read as the host reads it."""
    operation.refresh_from_db()
    return from_wire(ApplyMachine, operation.message)


def test_a_new_machine_is_defined_with_its_disk_its_card_and_the_message_for_its_host(
    rack: Host, ann: User, boss: User
) -> None:
    disc = image_named()
    asked = services.machine_create(
        owner=ann,
        requested_by=boss,
        wish=wish("  my   box ", image=disc, cpus=2, disk_kind=DiskKind.FIXED, disk_bus=DiskBus.SATA,
                  nic_model=NicModel.E1000),
    )  # fmt: skip
    machine = Machine.objects.get()
    assert (machine.owner, machine.host, machine.name, machine.cpus) == (ann, rack, "my box", 2)
    assert (machine.power, machine.run, machine.generation) == (Power.RUNNING, 1, 1)
    assert (machine.disc, machine.boot_from) == (disc, BootFrom.DISC)
    disk, nic = machine.disks.get(), machine.nics.get()
    assert (disk.size_bytes, disk.kind, disk.bus) == (10 * GIB, DiskKind.FIXED, DiskBus.SATA)
    assert (nic.address, nic.model, nic.host) == ("192.168.57.2", NicModel.E1000, rack)
    assert (asked.kind, asked.state, asked.requested_by, asked.host) == (Kind.CREATE, "queued", boss, rack)
    assert (asked.machine, asked.machine_name, asked.sent_at) == (machine, "my box", None)
    message = message_of(asked)
    assert message.operation_id == asked.pk
    assert message.spec == spec_of(machine)
    assert message.spec.disc is not None
    assert message.spec.disc.image_id == disc.pk


def test_a_machine_without_a_disc_boots_from_its_disk(machine: Machine) -> None:
    assert machine.boot_from == BootFrom.DISK
    assert message_of(newest(machine)).spec.disc is None


def test_each_machine_gets_the_lowest_free_address_and_a_mac_of_its_own(rack: Host, ann: User) -> None:
    first, second, third = (machine_of(ann, name) for name in ("a", "b", "c"))
    second.delete()
    fourth = machine_of(ann, "d")
    assert [each.nics.get().address for each in (first, third, fourth)] == [
        "192.168.57.2",
        "192.168.57.4",
        "192.168.57.3",
    ]
    assert len(set(Nic.objects.values_list("mac", flat=True))) == 3


def test_a_machine_goes_to_the_host_with_the_most_free_memory_and_promises_count(db: None, ann: User) -> None:
    host_heard("small", memory_free_mib=3000)
    large = host_heard("large", memory_free_mib=4000)
    gone = host_heard("gone", memory_free_mib=50_000)
    silence("gone")
    assert machine_of(ann, "a", memory_mib=2000).host == large
    assert machine_of(ann, "b", memory_mib=1000).host.name == "small"
    assert gone.machines.count() == 0


def test_the_memory_of_a_running_machine_is_not_given_away_again(
    db: None, ann: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """A guest takes its memory as it uses it, so that its host still says that nearly all is free."""
    room: dict[str, Any] = {"memory_total_mib": 4096, "memory_free_mib": 3900}
    host_heard(**room)
    web = done(machine_of(ann, "web", memory_mib=3000))
    host_heard(**room)
    with django_assert_num_queries(1):
        assert [each.memory_free_mib for each in candidates()] == [1096]
    with pytest.raises(Refused, match="that much memory free"):
        machine_of(ann, "another", memory_mib=2000)
    assert machine_of(ann, "small", memory_mib=1000).memory_mib == 1000
    assert [each.memory_free_mib for each in candidates()] == [96]
    Machine.objects.filter(pk=web.pk).update(memory_mib=5000)
    assert [each.memory_free_mib for each in candidates()] == [0]
    Machine.objects.filter(pk=web.pk).update(power=Power.OFF, observed=Observed.OFF)
    assert [each.memory_free_mib for each in candidates()] == [2900]


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"name": "   "}, "name", "needs a name"),
        ({"name": "x" * 64}, "name", "at most 63"),
        ({"name": "a\x00b"}, "name", "visible characters"),
        ({"name": "a\x1b[31mb"}, "name", "visible characters"),
        ({"name": "a\u202eb"}, "name", "visible characters"),
        ({"name": "a\ud800b"}, "name", "visible characters"),
        ({"name": "web"}, "name", "already"),
        ({"name": " web  "}, "name", "already"),
        ({"cpus": 9}, "cpus", "the most is 8"),
        ({"memory_mib": 61 * 1024}, "memory_gib", "that much memory free"),
        ({"disk_kind": DiskKind.FIXED, "disk_bytes": 2000 * GIB}, "disk_gib", "that much disk space"),
    ],
)
def test_a_wish_that_cannot_be_granted_is_refused_at_its_field_and_nothing_is_written(
    machine: Machine, ann: User, changes: dict[str, Any], field: str, words: str
) -> None:
    before = everything()
    with pytest.raises(Refused, match=words) as refusal:
        machine_of(ann, **({"name": "another"} | changes))
    assert refusal.value.field == field
    assert everything() == before


def test_a_growing_disk_may_be_larger_than_the_room_of_today(rack: Host, ann: User) -> None:
    assert machine_of(ann, disk_bytes=2000 * GIB).disks.get().size_bytes == 2000 * GIB


def test_without_a_host_that_was_heard_nothing_is_made(db: None, ann: User) -> None:
    with pytest.raises(Refused, match="No host is reachable"):
        machine_of(ann)
    host_heard()
    silence("rack-1")
    with pytest.raises(Refused, match="No host is reachable"):
        machine_of(ann)
    assert everything() == []


def test_a_network_without_a_free_address_is_said(rack: Host, ann: User) -> None:
    tiny = Network.objects.create(name="tiny", subnet="10.9.9.0/29")
    for number in range(5):
        machine_of(ann, f"box {number}", network=tiny)
    before = everything()
    with pytest.raises(Refused, match="All addresses of the network “tiny”") as refusal:
        machine_of(ann, "one more", network=tiny)
    assert refusal.value.field == "network"
    assert everything() == before


def test_two_people_may_use_the_same_name(machine: Machine, ben: User) -> None:
    assert machine_of(ben, "web").name == "web"


@pytest.mark.parametrize(
    "name",
    ["-device,evil", "a,b=c", "<script>alert(1)</script>", "'; DROP TABLE x; --", "日本 🙂", "..", "{{x}}%s"],
)
def test_a_hostile_name_is_a_name_and_no_more(rack: Host, ann: User, name: str) -> None:
    machine = machine_of(ann, name)
    assert machine.name == name
    assert message_of(newest(machine)).spec.name == name


def test_white_space_in_a_name_becomes_single_blanks() -> None:
    assert clean_name(" a \t b\n\nc ") == "a b c"


def test_a_name_is_kept_as_its_script_writes_it_and_one_that_shows_nothing_is_none() -> None:
    for name in (
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    ):
        assert clean_name(name) == name
    assert clean_name("e\u0301") == "\u00e9"  # two spellings of one name are one name
    for name in ("\u2800", "\u115f \u3164", "\u200d"):
        with pytest.raises(Refused, match="needs a name"):
            clean_name(name)


def test_after_delete_the_list_is_shown_with_a_word_and_after_a_wrong_name_the_machine(
    running: Machine, ann: User
) -> None:
    browser = signed_in(ann)
    wrong = browser.post(f"/machines/{running.pk}/delete/", {"name": "other"}, follow=True)
    assert wrong.redirect_chain[-1][0] == f"/machines/{running.pk}/"
    right = browser.post(f"/machines/{running.pk}/delete/", {"name": "web"}, follow=True)
    assert right.redirect_chain[-1][0] == "/machines/"
    page = right.content.decode()
    assert "“web” is being deleted" in page
    assert "Being deleted" in page


def test_start_raises_the_run_and_the_generation(running: Machine, ann: User) -> None:
    off = done(running, Observed.OFF)
    Machine.objects.filter(pk=off.pk).update(power=Power.OFF)
    asked = services.machine_start(machine=off, by=ann)
    spec = message_of(asked).spec
    assert (asked.kind, spec.power, spec.run, spec.generation) == (Kind.START, Power.RUNNING, 2, 2)
    assert asked.generation == Machine.objects.get().generation == 2


def test_a_second_press_on_start_is_refused_while_the_first_is_under_way(running: Machine, ann: User) -> None:
    off = done(running, Observed.OFF)
    services.machine_start(machine=off, by=ann)
    before = everything()
    with pytest.raises(Refused, match="being started already"):
        services.machine_start(machine=off, by=ann)
    assert everything() == before
    done(
        off, Observed.OFF, reason=EndReason.HOST
    )  # the host was started anew and could not start the machine
    assert services.machine_start(machine=off, by=ann).kind == Kind.START


def test_shut_down_asks_and_force_off_cuts(running: Machine, ann: User) -> None:
    asked = message_of(services.machine_shut_down(machine=running, by=ann)).spec
    assert (asked.power, asked.stop_mode, asked.generation) == (Power.OFF, StopMode.ASK, 2)
    cut = message_of(services.machine_force_off(machine=running, by=ann)).spec
    assert (cut.power, cut.stop_mode, cut.generation, cut.run) == (Power.OFF, StopMode.FORCE, 3, 1)


def test_restart_asks_and_counts_a_new_run(running: Machine, ann: User) -> None:
    spec = message_of(services.machine_restart(machine=running, by=ann)).spec
    assert (spec.power, spec.stop_mode, spec.run) == (Power.RUNNING, StopMode.ASK, 2)


def test_a_finished_installation_empties_the_drive_and_boots_the_disk(rack: Host, ann: User) -> None:
    machine = done(machine_of(ann, image=image_named()))
    spec = message_of(services.machine_finish_installation(machine=machine, by=ann)).spec
    assert (spec.disc, spec.boot_from, spec.power, spec.run) == (None, BootFrom.DISK, Power.RUNNING, 1)
    assert Machine.objects.get().disc is None


def test_a_disc_goes_in_and_out(running: Machine, ann: User) -> None:
    disc = image_named()
    spec = message_of(services.machine_insert_disc(machine=running, disc=disc, by=ann)).spec
    assert spec.disc is not None
    assert (spec.disc.image_id, spec.boot_from) == (disc.pk, BootFrom.DISC)
    with pytest.raises(Refused, match="in the drive already"):
        services.machine_insert_disc(machine=running, disc=disc, by=ann)
    spec = message_of(services.machine_insert_disc(machine=running, disc=None, by=ann)).spec
    assert (spec.disc, spec.boot_from) == (None, BootFrom.DISK)
    with pytest.raises(Refused, match="empty already"):
        services.machine_insert_disc(machine=running, disc=None, by=ann)


def test_delete_wants_the_machine_gone_and_only_with_its_name_typed(running: Machine, ann: User) -> None:
    before = everything()
    for typed in ("", "WEB", "we", "web2"):
        with pytest.raises(Refused, match="does not match"):
            services.machine_delete(machine=running, name=typed, by=ann)
    assert everything() == before
    asked = services.machine_delete(machine=running, name=" web ", by=ann)
    spec = message_of(asked).spec
    assert (asked.kind, spec.power, spec.stop_mode) == (Kind.DELETE, Power.GONE, StopMode.FORCE)
    assert Machine.objects.get().power == Power.GONE  # the row stays until its host says that all is gone


def test_nothing_more_is_asked_of_a_machine_that_is_being_deleted(running: Machine, ann: User) -> None:
    services.machine_delete(machine=running, name="web", by=ann)
    before = everything()
    asked: tuple[tuple[Callable[..., Operation], dict[str, None]], ...] = (
        (services.machine_start, {}),
        (services.machine_shut_down, {}),
        (services.machine_restart, {}),
        (services.machine_force_off, {}),
        (services.machine_finish_installation, {}),
        (services.machine_insert_disc, {"disc": None}),
    )
    for service, more in asked:
        with pytest.raises(Refused, match="being deleted"):
            service(machine=running, by=ann, **more)
    assert everything() == before
    assert (
        services.machine_delete(machine=running, name="web", by=ann).generation == 3
    )  # it may be pressed again


def test_what_makes_no_sense_now_is_refused_and_nothing_is_written(running: Machine, ann: User) -> None:
    before = everything()
    with pytest.raises(Refused, match="is running already"):
        services.machine_start(machine=running, by=ann)
    assert everything() == before
    off = done(running, Observed.OFF)
    Machine.objects.filter(pk=off.pk).update(power=Power.OFF)
    before = everything()
    for service in (services.machine_shut_down, services.machine_restart):
        with pytest.raises(Refused, match="is not running"):
            service(machine=off, by=ann)
    with pytest.raises(Refused, match="is off already"):
        services.machine_force_off(machine=off, by=ann)
    with pytest.raises(Refused, match="done already"):
        services.machine_finish_installation(machine=off, by=ann)
    assert everything() == before


def test_a_stale_page_decides_nothing(running: Machine, ann: User) -> None:
    """The row of today counts, not the one that the page was drawn from."""
    stale = Machine.objects.get()
    done(running, Observed.OFF, reason=EndReason.GUEST)
    assert stale.observed == Observed.RUNNING
    with pytest.raises(Refused, match="is not running"):
        services.machine_shut_down(machine=stale, by=ann)


def test_a_create_that_failed_can_be_started_again_or_deleted(machine: Machine, ann: User) -> None:
    error = ErrorReport(code=ErrorCode.DISK_FULL, detail="no room")
    reports.progress_take(told(newest(machine), OperationState.FAILED, error=error))
    reports.observed_take(seen(machine, Observed.OFF, reason=EndReason.NEVER_STARTED))
    machine.refresh_from_db()
    assert status_with(machine, newest(machine)).label == "Not made"
    assert message_of(services.machine_start(machine=machine, by=ann)).spec.run == 2
    assert services.machine_delete(machine=machine, name="web", by=ann).kind == Kind.DELETE


def test_the_private_network_is_made_as_the_installation_says(
    db: None, settings: LazySettings, ann: User
) -> None:
    settings.PRIVATE_SUBNET = "10.77.0.0/16"
    host_heard()
    assert machine_of(ann).nics.get().address == "10.77.0.2"


def typed(**changes: str) -> dict[str, str]:
    """The form of a new machine as a browser sends it."""
    network = private_network()
    return {
        "name": "web",
        "disc": "",
        "size": "small",
        "cpus": "1",
        "memory_gib": "1",
        "disk_gib": "10",
        "disk_kind": "growing",
        "network": str(network.pk),
        "disk_bus": "virtio",
        "nic_model": "virtio",
        **changes,
    }


def test_a_filled_in_form_becomes_the_wish(db: None) -> None:
    disc = image_named()
    custom = typed(disc=str(disc.pk), size="custom", cpus="3", memory_gib="1.5", disk_kind="fixed",
                   disk_bus="sata", nic_model="e1000")  # fmt: skip
    form = NewMachineForm(custom)
    assert form.is_valid(), form.errors
    assert form.wish() == services.MachineWish(
        name="web",
        image=disc,
        cpus=3,
        memory_mib=1536,
        disk_bytes=10 * GIB,
        disk_kind=DiskKind.FIXED,
        network=private_network(),
        disk_bus=DiskBus.SATA,
        nic_model=NicModel.E1000,
    )


def test_a_flavour_brings_its_own_size_whatever_the_hidden_fields_say(db: None) -> None:
    form = NewMachineForm(typed(size="medium", cpus="200", memory_gib=""))
    assert form.is_valid(), form.errors
    assert (form.wish().cpus, form.wish().memory_mib) == (2, 2048)


def test_create_answers_with_the_machines_page(rack: Host, ann: User) -> None:
    answer = signed_in(ann).post("/machines/new/", typed())
    assert answer.status_code == 302
    assert answer["Location"] == f"/machines/{Machine.objects.get().pk}/"


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"name": ""}, "name", "needs a name"),
        ({"name": "x" * 64}, "name", "at most 63"),
        ({"name": "a\x00b"}, "name", "Null characters"),
        ({"name": "a\u202eb"}, "name", "visible characters only"),
        ({"name": "taken"}, "name", "a machine of this name already"),
        ({"disc": "not-an-id"}, "disc", "not a valid"),
        ({"disc": str(nobody())}, "disc", "no longer in the library"),
        ({"size": "huge"}, "size", "Choose one"),
        ({"size": "large", "memory_gib": "1"}, "size", "that much memory free: the most is 5.8"),
        ({"size": "custom", "cpus": ""}, "cpus", "how many processors"),
        ({"size": "custom", "cpus": "0"}, "cpus", "1 to 256"),
        ({"size": "custom", "cpus": "9"}, "cpus", "No host has that many CPUs"),
        ({"size": "custom", "memory_gib": ""}, "memory_gib", "how much memory"),
        ({"size": "custom", "memory_gib": "0.01"}, "memory_gib", "0.25 to 4096 GB"),
        ({"size": "custom", "memory_gib": "NaN"}, "memory_gib", "0.25 to 4096"),
        ({"size": "custom", "memory_gib": "6"}, "memory_gib", "that much memory free"),
        ({"disk_gib": "0"}, "disk_gib", "1 to 65536"),
        ({"disk_gib": "1e99"}, "disk_gib", "whole number"),
        ({"disk_gib": "5000", "disk_kind": "fixed"}, "disk_gib", "that much disk space free"),
        ({"network": str(nobody())}, "network", "Choose one"),
    ],
)  # fmt: skip
def test_wrong_input_is_said_at_its_field_and_what_was_typed_is_kept(
    ann: User, changes: dict[str, str], field: str, words: str
) -> None:
    host_heard(memory_free_mib=6500)
    quota_set(of=ann, limits=Limits())
    machine_of(ann, "taken")
    before = everything()
    answer = signed_in(ann).post(
        "/machines/new/", typed(**({"name": "kept name", "disk_gib": "77"} | changes))
    )
    assert answer.status_code == 422
    page = answer.content.decode()
    at_the_field = page.split(f'id="id_{field}-error">')
    assert len(at_the_field) > 1, f"no message stands at {field}"
    assert words in at_the_field[1].split("</div>")[0]
    if "name" not in changes:
        assert 'value="kept name"' in page
    if "disk_gib" not in changes:
        assert 'value="77"' in page
    assert everything() == before


def test_a_size_that_no_host_has_room_for_cannot_be_chosen_and_without_a_host_the_page_says_so(
    ann: User,
) -> None:
    host_heard(memory_free_mib=6500)
    page = signed_in(ann).get("/machines/new/").content.decode()
    sizes = {size: page.split(f'value="{size}"')[0].rpartition("<input")[2] for size in ("small", "large")}
    assert ("disabled" in sizes["small"], "disabled" in sizes["large"]) == (False, True)
    assert "More than any host has free now" in page
    silence("rack-1")
    page = signed_in(ann).get("/machines/new/").content.decode()
    assert "No host can be reached now" in page
    assert "More than any host has free now" not in page
