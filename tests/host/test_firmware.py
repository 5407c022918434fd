"""What starts a machine: UEFI with Secure Boot, a TPM, two disc drives, and what of them is kept, and for how long."""

from __future__ import annotations

import pwd
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.guest.efi_disc import efi_guest_disc, labelled_disc
from tests.lab import wishes
from tests.lab.obstacles import broken_program, missing_files
from tests.lab.processes import SWTPM
from tests.lab.standing import Standing, standing_host
from tests.lab.waiting import wait_for
from workers.contract.acts import RevertToSnapshot, TakeSnapshot
from workers.contract.errors import ErrorCode
from workers.contract.messages import OperationState, Step
from workers.contract.spec import DiskBus, Firmware, GuestKind, MachineSpec, NicModel, Power, StopMode

QUIET = {"disks": (), "nics": (), "memory_mib": 64}
"""A machine of which only the firmware is looked at."""


@pytest.fixture(scope="module")
def place() -> Iterator[Standing]:
    """One host for the whole file."""
    with standing_host() as place:
        yield place


@pytest.mark.timeout(600)
def test_secure_boot_tpm_and_two_drives_as_windows_wants_them(place: Standing, tmp_path: Path) -> None:
    host = place.host
    drivers = host.put_disc(uuid4(), labelled_disc(tmp_path / "drivers.iso", "VIRTIO_WIN"))
    others = host.put_disc(uuid4(), labelled_disc(tmp_path / "others.iso", "OTHERS"))
    base = wishes.spec(
        guest=GuestKind.WINDOWS,
        firmware=Firmware.UEFI_SECURE,
        tpm=True,
        memory_mib=512,
        disc=host.put_disc(uuid4(), efi_guest_disc("firmware")),
        second_disc=drivers,
    )
    machine = base.model_copy(
        update={
            "disks": (base.disks[0].model_copy(update={"bus": DiskBus.SATA}),),
            "nics": (base.nics[0].model_copy(update={"model": NicModel.E1000}),),
        }
    )
    machine_id = machine.machine_id
    unknown = wishes.spec(  # it starts meanwhile
        number=11,
        firmware=Firmware.UEFI_SECURE,
        memory_mib=256,
        disc=host.put_disc(uuid4(), efi_guest_disc("firmware", signed=False)),
    )
    place.done(machine)
    place.done(unknown)

    # The guest was started by a UEFI that checks, sees its TPM and both discs, and finds nothing kept.
    # It looks at its drives beside all else.
    wait_for("it is up", lambda: {"ready", "sr1"} <= host.said(machine_id).keys(), seconds=120)
    said = host.said(machine_id)
    assert (said["efi"], said["secure_boot"], said["tpm"]) == ("yes", "1", "2")
    assert (said["variable_before"], said["tpm_value_before"]) == ("", "")
    assert (said["variable"], said["tpm_value"]) == ("kept", "kept")
    assert (said["sr0"], said["sr1"]) == ("EFI_TEST", "VIRTIO_WIN")
    assert said["disks"] == "1"

    # A loader that no known key has signed is not started.
    _await_words(place, unknown, "Access Denied")
    assert "up" not in host.said(unknown.machine_id)
    place.delete(unknown)

    # The second drive changes while the machine runs, and the first one is left alone.
    machine = wishes.later(machine, second_disc=None)
    assert [step.step for step in place.apply(machine).steps] == [Step.CHANGE_DISC]
    wait_for("the guest sees it empty", lambda: host.said(machine_id)["sr1"] == "empty", seconds=60)

    # Hibernated and woken, it goes on with the same drives, firmware and TPM.
    place.done(machine := wishes.later(machine, power=Power.SAVED), seconds=90)
    assert (host.tpms(), host.qemus()) == ([], [])
    place.done(machine := wishes.later(machine, power=Power.RUNNING), seconds=90)
    place.done(machine := wishes.later(machine, second_disc=others))
    wait_for("the guest sees the other", lambda: host.said(machine_id)["sr1"] == "OTHERS", seconds=60)
    assert host.said(machine_id)["sr0"] == "EFI_TEST"
    assert host.heard(machine_id, "tpm_with_OTHERS") == "kept"

    _assert_closed_to_others(place, machine)

    # It outlives the worker, and goes with the machine.
    host.kill()
    host.start()
    place.done(machine := wishes.later(machine, power=Power.OFF, stop_mode=StopMode.ASK), seconds=90)
    wait_for("the TPM has ended", lambda: not host.tpms(), seconds=10)

    # Killed between the TPM's start and qemu's, the worker ends with one of each, and what they keep is there.
    host.stop()
    host.set(OFFSHOOT_DIE_AT="tpm spawned")
    host.start()
    wish = wishes.wish(machine := wishes.later(machine, power=Power.RUNNING, run=2))
    place.ear.ask(host.name, wish)
    host.wait_for_death()
    assert (len(host.tpms()), host.qemus()) == (1, [])
    host.set(OFFSHOOT_DIE_AT="")
    host.start()
    assert place.ear.end_of(wish.operation_id, seconds=60).state is OperationState.DONE, host.words()[-3000:]
    assert (len(host.tpms()), len(host.qemus())) == (1, 1)
    wait_for("it is up again", lambda: host.said(machine_id)["variable_before"] == "kept", seconds=120)
    wait_for("its TPM too", lambda: host.said(machine_id)["tpm_value_before"] == "kept", seconds=30)

    place.delete(machine)
    assert place.traces() == {}
    assert list(host.state.machines.glob("*/")) == []


def test_without_secure_boot_the_same_loader_starts(place: Standing) -> None:
    disc = place.host.put_disc(uuid4(), efi_guest_disc("firmware", signed=False))
    machine = place.done(wishes.spec(firmware=Firmware.UEFI, disc=disc, **QUIET | {"memory_mib": 256}))
    _await_words(place, machine, "Welcome to GRUB")
    place.delete(machine)


def test_each_kind_of_uefi_keeps_what_it_knows_when_another_takes_its_place(place: Standing) -> None:
    machine = place.done(wishes.spec(firmware=Firmware.UEFI, **QUIET))
    folder = place.host.folder(machine.machine_id)
    store = folder.variables_file(Firmware.UEFI)
    made = store.stat().st_ino
    for firmware in (Firmware.UEFI_SECURE, Firmware.BIOS, Firmware.UEFI):
        off = place.done(wishes.later(machine, power=Power.OFF, stop_mode=StopMode.FORCE, firmware=firmware))
        machine = place.done(wishes.later(off, power=Power.RUNNING, run=off.run + 1))
    assert store.stat().st_ino == made
    assert folder.variables_file(Firmware.UEFI_SECURE).exists()
    assert not folder.tpm.exists()
    place.delete(machine)


def test_a_machine_goes_back_to_before_it_had_its_firmware_and_to_what_that_kept(place: Standing) -> None:
    machine = place.done(wishes.spec(power=Power.OFF, run=0, firmware=Firmware.BIOS, nics=(), memory_mib=64))
    first, second = uuid4(), uuid4()
    machine = place.done(wishes.later(machine), TakeSnapshot(snapshot_id=first))
    machine = place.done(wishes.later(machine, firmware=Firmware.UEFI, power=Power.RUNNING, run=1))
    machine = place.done(wishes.later(machine, power=Power.OFF, stop_mode=StopMode.FORCE))
    store = place.host.folder(machine.machine_id).variables_file(Firmware.UEFI)
    place.done(machine := wishes.later(machine), TakeSnapshot(snapshot_id=second))
    subprocess.run(
        ("qemu-io", "-c", "write -P 0x55 0 64k", str(store)), check=True, capture_output=True, timeout=60
    )
    place.done(machine := wishes.later(machine, firmware=Firmware.BIOS), RevertToSnapshot(snapshot_id=first))
    same = ("qemu-io", "-c", "read -P 0x55 0 64k", str(store))
    assert b"failed" not in subprocess.run(same, check=True, capture_output=True, timeout=60).stdout
    place.done(machine := wishes.later(machine, firmware=Firmware.UEFI), RevertToSnapshot(snapshot_id=second))
    assert b"failed" in subprocess.run(same, check=False, capture_output=True, timeout=60).stdout
    place.delete(machine)


def test_a_host_without_the_firmware_or_the_tpm_says_so_and_nothing_is_left(place: Standing) -> None:
    host = place.host
    machine = wishes.spec(firmware=Firmware.UEFI_SECURE, tpm=True, memory_mib=64)
    with missing_files(host, "/usr/share/OVMF"):
        assert _refused(place, machine) == (ErrorCode.FIRMWARE_MISSING, "ovmf")
    with broken_program(host, SWTPM, words="no TPM today"):
        machine = wishes.later(machine, run=2)
        assert _refused(place, machine) == (ErrorCode.TPM_FAILED, "no TPM today")
    assert place.traces() == {}

    # What it kept is damaged: it is said, and nothing is put in its place.
    place.done(machine := wishes.later(machine, run=3))
    place.done(machine := wishes.later(machine, power=Power.OFF, stop_mode=StopMode.FORCE))
    [kept] = host.folder(machine.machine_id).tpm.glob("*.permall")
    kept.write_bytes(b"damaged" * 100)
    machine = wishes.later(machine, power=Power.RUNNING, run=4)
    assert _refused(place, machine) == (ErrorCode.TPM_FAILED, "tpm-emulator")
    assert kept.read_bytes() == b"damaged" * 100
    assert place.traces() == {}
    place.delete(machine)


def test_a_drive_that_the_running_machine_does_not_have_is_refused(place: Standing, tmp_path: Path) -> None:
    disc = place.host.put_disc(uuid4(), labelled_disc(tmp_path / "disc.iso", "DISC"))
    machine = place.done(wishes.spec(**QUIET))
    machine = wishes.later(machine, second_disc=disc)
    assert _refused(place, machine)[0] is ErrorCode.HARDWARE_REFUSED
    place.delete(machine)


def test_a_second_drive_that_came_with_a_disc_stays_until_the_machine_ends(
    place: Standing, tmp_path: Path
) -> None:
    disc = place.host.put_disc(uuid4(), labelled_disc(tmp_path / "disc.iso", "DISC"))
    machine = place.done(wishes.spec(second_disc=disc, **QUIET))
    place.done(machine := wishes.later(machine, second_disc=None))
    place.done(machine := wishes.later(machine, power=Power.SAVED), seconds=90)
    place.done(machine := wishes.later(machine, power=Power.RUNNING), seconds=90)
    place.done(machine := wishes.later(machine, second_disc=disc))
    place.delete(machine)


def _await_words(place: Standing, machine: MachineSpec, words: str) -> None:
    """Its firmware or loader has said this on its serial port."""
    log = place.host.folder(machine.machine_id).console_log
    wait_for(words, lambda: log.exists() and words in log.read_text(errors="replace"), seconds=90)


def _refused(place: Standing, machine: MachineSpec) -> tuple[ErrorCode, str]:
    """The code of the refusal, and which of the words that are looked for stands in its detail."""
    end = place.apply(machine)
    assert end.state is OperationState.FAILED, end
    assert end.error is not None
    words = ("ovmf", "no TPM today", "tpm-emulator")
    return end.error.code, next((word for word in words if word in end.error.detail), end.error.detail)


def _assert_closed_to_others(place: Standing, machine: MachineSpec) -> None:
    """The TPM is a process of qemu's account, reachable by nobody, with its memory closed to others."""
    host, machine_id = place.host, machine.machine_id
    account = pwd.getpwnam("offshoot-vm").pw_uid
    [tpm] = host.tpms()
    assert Path(f"/proc/{tpm}").stat().st_uid == account
    assert not list(host.folder(machine_id).root.rglob("*tpm*.sock"))
    store = host.folder(machine_id).variables_file(Firmware.UEFI_SECURE)
    for path, mode in ((host.folder(machine_id).tpm, 0o700), (store, 0o600)):
        assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (account, mode)
