"""What kind of system a machine is for: its presets, its firmware and their change, its two disc drives."""

from __future__ import annotations

import pytest

from portal.accounts.models import User
from portal.activity.models import Kind
from portal.fleet.models import Host
from portal.images import services as images
from portal.machines import reports, services
from portal.machines.drives import Drive
from portal.machines.firmware import FirmwareWish, firmware_change
from portal.machines.forms import NewMachineForm
from portal.machines.kinds import PRESETS, is_small_for_windows
from portal.machines.models import Machine
from portal.machines.specs import spec_of
from portal.networks.services import private_network
from portal.refusal import Refused
from tests.web.people import (
    done,
    facts,
    host_heard,
    image_named,
    machine_of,
    newest,
    signed_in,
    told,
    wish,
)
from workers.contract.host import TPM_FEATURE, UEFI_FEATURE
from workers.contract.messages import Observed, OperationState
from workers.contract.spec import GIB, DiskBus, Firmware, GuestKind, NicModel


def typed(**changes: str) -> dict[str, str]:
    """The form of a new machine where nothing was changed but what is said."""
    usual = {"name": "web", "disc": "", "size": "small", "disk_gib": "10", "disk_kind": "growing"}
    return {**usual, "network": str(private_network().pk), **changes}


def wished(**changes: str) -> services.MachineWish:
    form = NewMachineForm(typed(**changes))
    assert form.is_valid(), form.errors
    return form.wish()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("", (GuestKind.LINUX, Firmware.BIOS, False, DiskBus.VIRTIO, NicModel.VIRTIO)),
        ("linux", (GuestKind.LINUX, Firmware.BIOS, False, DiskBus.VIRTIO, NicModel.VIRTIO)),
        ("windows", (GuestKind.WINDOWS, Firmware.UEFI_SECURE, True, DiskBus.SATA, NicModel.E1000)),
        ("other", (GuestKind.OTHER, Firmware.BIOS, False, DiskBus.SATA, NicModel.E1000)),
    ],
)
def test_a_kind_brings_its_hardware_without_asking(db: None, kind: str, expected: tuple[object, ...]) -> None:
    wish = wished(guest=kind)
    assert (wish.guest, wish.firmware, wish.tpm, wish.disk_bus, wish.nic_model) == expected


def test_each_part_of_it_can_be_said_otherwise(db: None) -> None:
    disc = image_named()
    wish = wished(
        guest="windows",
        firmware="uefi",
        tpm="no",
        disk_bus="virtio",
        nic_model="virtio",
        second_disc=str(disc.pk),
    )
    assert (wish.guest, wish.firmware, wish.tpm) == (GuestKind.WINDOWS, Firmware.UEFI, False)
    assert (wish.disk_bus, wish.nic_model, wish.second_image) == (DiskBus.VIRTIO, NicModel.VIRTIO, disc)
    assert wished(guest="linux", tpm="yes", firmware="uefi_secure").tpm


def test_windows_finds_the_newest_driver_disc_in_its_second_drive(db: None) -> None:
    assert wished(guest="windows").second_image is None
    image_named("Debian 12")
    image_named("virtio-win-0.1.240")
    newer = image_named("Drivers", volume_label="virtio-win-0.1.266")
    image_named("virtio-win, being checked", state="checking")
    assert wished(guest="windows").second_image == newer
    assert wished(guest="windows", second_disc="none").second_image is None
    assert wished(guest="linux").second_image is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("guest", "plan9"),
        ("firmware", "coreboot"),
        ("tpm", "perhaps"),
        ("second_disc", "5c0f0000-0000-4000-8000-000000000001"),
    ],
)
def test_what_is_not_offered_is_refused_at_its_field(rack: Host, ann: User, field: str, value: str) -> None:
    answer = signed_in(ann).post("/machines/new/", typed(name="kept", **{field: value}))
    assert answer.status_code == 422
    page = answer.content.decode()
    assert f'id="id_{field}-error"' in page
    assert 'value="kept"' in page
    assert not Machine.objects.exists()


def test_the_host_is_sent_what_was_chosen_and_the_page_says_it(rack: Host, ann: User) -> None:
    disc = image_named("virtio-win")
    browser = signed_in(ann)
    answer = browser.post("/machines/new/", typed(guest="windows", size="large", disk_gib="64"), follow=True)
    machine = Machine.objects.get()
    spec = spec_of(machine)
    assert (spec.guest, spec.firmware, spec.tpm) == (GuestKind.WINDOWS, Firmware.UEFI_SECURE, True)
    assert spec.second_disc is not None
    assert spec.second_disc.image_id == disc.pk
    page = answer.content.decode()
    assert "smaller than Windows 11 asks for" not in page
    for words in ("Windows", "UEFI with Secure Boot, TPM 2.0", "Second disc drive", "virtio-win"):
        assert words in page


def test_a_machine_too_small_for_windows_11_is_made_with_a_word_about_it(rack: Host, ann: User) -> None:
    answer = signed_in(ann).post("/machines/new/", typed(guest="windows"), follow=True)
    assert "smaller than Windows 11 asks for" in answer.content.decode()
    assert Machine.objects.get().guest == GuestKind.WINDOWS
    enough = {"cpus": 2, "memory_mib": 4096, "disk_bytes": 64 * GIB}
    assert not is_small_for_windows(**enough)
    for part, least in enough.items():
        assert is_small_for_windows(**{**enough, part: least - 1})


def test_the_form_says_what_each_kind_brings(rack: Host, ann: User) -> None:
    page = signed_in(ann).get("/machines/new/").content.decode()
    for preset in PRESETS.values():
        tile = page.split(f'name="guest" value="{preset.kind}"')[1].split(">")[0]
        assert f'data-firmware="{preset.firmware}"' in tile
        assert f'data-disk_bus="{preset.disk_bus}"' in tile
    assert "virtio-win.iso" in page


def test_a_host_without_the_firmware_or_tpm_is_not_chosen(ann: User) -> None:
    bare = facts().model_copy(update={"missing_features": (UEFI_FEATURE, TPM_FEATURE)})
    host_heard("bare", facts=bare, memory_free_mib=60000)
    with pytest.raises(Refused, match="firmware or TPM"):
        machine_of(ann, "one", firmware=Firmware.UEFI)
    assert machine_of(ann, "two").host.name == "bare"
    host_heard("rack-1", memory_free_mib=30000)
    assert machine_of(ann, "three", firmware=Firmware.UEFI).host.name == "rack-1"
    assert machine_of(ann, "four", tpm=True).host.name == "rack-1"
    assert machine_of(ann, "five").host.name == "bare"


SECURE = FirmwareWish(GuestKind.WINDOWS, Firmware.UEFI_SECURE, tpm=True)


def test_the_firmware_is_changed_while_the_machine_is_off(running: Machine, ann: User) -> None:
    with pytest.raises(Refused, match="has to be off"):
        firmware_change(machine=running, wish=SECURE, by=ann)
    off = done(running, Observed.OFF)
    browser = signed_in(ann)
    page = browser.get(f"/machines/{off.pk}/hardware/").content.decode()
    assert "may not start with another firmware" in page
    fields = {"guest": "windows", "firmware": "uefi_secure", "tpm": "yes"}
    browser.post(f"/machines/{off.pk}/change-firmware/", fields)
    off.refresh_from_db()
    assert (off.guest, off.firmware, off.tpm) == ("windows", "uefi_secure", True)
    assert newest(off).kind == Kind.CHANGE
    with pytest.raises(Refused, match="has already"):
        firmware_change(machine=off, wish=SECURE, by=ann)
    answer = browser.post(f"/machines/{off.pk}/change-firmware/", fields | {"tpm": "x"}, follow=True)
    assert "Nothing was changed" in answer.content.decode()


def test_a_change_that_its_host_or_its_disks_do_not_take_is_refused(running: Machine, ann: User) -> None:
    off = done(running, Observed.OFF)
    bare = facts().model_copy(update={"missing_features": (TPM_FEATURE,)})
    host_heard(facts=bare)
    with pytest.raises(Refused, match="no such firmware or TPM"):
        firmware_change(machine=off, wish=SECURE, by=ann)
    for position in range(1, 6):
        off.disks.create(position=position, size_bytes=GIB, kind="growing", bus=DiskBus.SATA)
    with pytest.raises(Refused, match="at most 4 SATA disks"):
        firmware_change(machine=off, wish=FirmwareWish(GuestKind.OTHER, Firmware.BIOS, tpm=False), by=ann)


def test_each_drive_has_a_disc_of_its_own(rack: Host, ann: User) -> None:
    first, second = image_named("System"), image_named("Drivers", added_by=ann)
    machine = done(machine_of(ann, image=first, guest=GuestKind.OTHER))
    browser = signed_in(ann)
    address = f"/machines/{machine.pk}/insert-disc/"
    browser.post(address, {"drive": Drive.SECOND.value, "disc": str(second.pk)})
    machine.refresh_from_db()
    assert (machine.disc, machine.second_disc, machine.boot_from) == (first, second, "disc")
    done(machine)
    browser.post(address, {"disc": ""})
    machine.refresh_from_db()
    assert (machine.disc, machine.second_disc) == (None, second)
    with pytest.raises(Refused, match="is in the drive of a machine"):
        images.image_delete(image=second, by=ann)
    assert "in 1 machine" in browser.get("/discs/").content.decode()
    with pytest.raises(Refused, match="empty already"):
        services.machine_insert_disc(machine=machine, disc=None, by=ann)


def test_a_disc_whose_change_failed_is_out_of_the_drive_again(rack: Host, ann: User) -> None:
    machine = done(machine_of(ann, guest=GuestKind.OTHER))
    disc = image_named()
    services.machine_insert_disc(machine=machine, disc=disc, by=ann, drive=Drive.SECOND)
    assert reports.progress_take(told(newest(machine), OperationState.FAILED))
    machine.refresh_from_db()
    assert machine.second_disc is None


def test_linux_gets_a_second_drive_with_a_disc_while_it_is_off(running: Machine, ann: User) -> None:
    disc = image_named()
    browser = signed_in(ann)
    page = f"/machines/{running.pk}/"
    assert "Second disc drive" not in browser.get(page).content.decode()
    with pytest.raises(Refused, match="no second drive"):
        services.machine_insert_disc(machine=running, disc=disc, by=ann, drive=Drive.SECOND)
    off = done(running, Observed.OFF)
    assert "it comes with the disc" in browser.get(page).content.decode()
    services.machine_insert_disc(machine=off, disc=disc, by=ann, drive=Drive.SECOND)
    assert spec_of(Machine.objects.get()).has_second_drive


def test_a_wish_of_the_old_form_is_a_linux_machine(rack: Host, ann: User) -> None:
    asked = services.machine_create(owner=ann, requested_by=ann, wish=wish())
    assert asked.machine is not None
    spec = spec_of(asked.machine)
    assert (spec.guest, spec.firmware, spec.tpm, spec.has_second_drive) == ("linux", "bios", False, False)
