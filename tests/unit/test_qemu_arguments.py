"""What qemu is started with: by example, and by property with whatever a person can type."""

from __future__ import annotations

import itertools
import json
import string
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.wishes import PRIVATE
from workers.contract.spec import (
    GIB,
    BootFrom,
    DiscSpec,
    DiskBus,
    DiskKind,
    DiskSpec,
    Firmware,
    GuestKind,
    MachineSpec,
    NicModel,
    NicSpec,
    Power,
)
from workers.plan.firmware import UEFI
from workers.plan.names import MachineFolder
from workers.plan.ports import ports
from workers.plan.qemu import HostChoices, qemu_argv, with_lines

FOLDER = MachineFolder(Path("/var/lib/offshoot/host/machines/5c0f0000-0000-4000-8000-000000000001"))
DISK = DiskSpec(id=UUID("d15c0000-0000-4000-8000-000000000001"), size_bytes=8 * GIB, kind=DiskKind.GROWING)
FILES = {DISK.id: FOLDER.root / f"{DISK.id}.qcow2"}
NIC = NicSpec(network=PRIVATE, mac="52:54:00:00:00:0a", address=IPv4Address("192.168.57.10"))
DISC = DiscSpec(image_id=UUID("1a9e0000-0000-4000-8000-000000000001"), size_bytes=1000, sha256="0" * 64)


def machine(**changes: object) -> MachineSpec:
    fields: dict[str, object] = {
        "machine_id": UUID("5c0f0000-0000-4000-8000-000000000001"),
        "generation": 1,
        "run": 1,
        "power": Power.RUNNING,
        "name": "ubuntu,test=1",
        "cpus": 2,
        "memory_mib": 2048,
        "disks": (DISK,),
        "disc": DISC,
        "nics": (NIC,),
    }
    return MachineSpec(**(fields | changes))  # type: ignore[arg-type]


def choices(**changes: object) -> HostChoices:
    fields: dict[str, object] = {
        "accelerator": "tcg",
        "asynchronous_io": "io_uring",
        "direct_io": True,
        "folder": FOLDER,
        "tap_fds": (7,),
        "disc": Path("/var/lib/offshoot/host/images/1a9e.iso"),
        "disk_files": FILES,
    }
    return HostChoices(**(fields | changes))  # type: ignore[arg-type]


def test_the_whole_list_of_a_machine_with_a_hostile_name() -> None:
    run = str(FOLDER.run)
    disk = f"{FOLDER.root}/{DISK.id}.qcow2"
    expected = [
        "qemu-system-x86_64",
        *("-name", "guest=ubuntu,,test=1,debug-threads=on"),
        *("-uuid", "5c0f0000-0000-4000-8000-000000000001"),
        *("-no-user-config", "-nodefaults"),
        *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
        *("-machine", "pc-q35-7.2,memory-backend=ram,vmport=off,hpet=off"),
        *("-accel", "tcg,thread=multi", "-cpu", "max"),
        *("-smp", "cpus=2,sockets=1,cores=2,threads=1"),
        *("-m", "size=2048M"),
        *("-object", '{"qom-type":"memory-backend-memfd","id":"ram","size":2147483648,"share":true}'),
        *("-rtc", "base=utc", "-boot", "strict=on"),
        *("-action", "panic=pause", "-device", '{"driver":"pvpanic","id":"panic"}'),
        *("-global", "ICH9-LPC.disable_s3=1", "-global", "ICH9-LPC.disable_s4=1"),
        *("-pidfile", f"{run}/qemu.pid", "-msg", "timestamp=on"),
        *(
            "-chardev",
            f"socket,id=qmp,path={run}/qmp.sock,server=on,wait=off",
            "-mon",
            "chardev=qmp,mode=control",
        ),
        *("-chardev", f"socket,id=events,path={run}/events.sock,server=on,wait=off"),
        *("-mon", "chardev=events,mode=control"),
        *("-vnc", f"unix:{run}/vnc.sock"),
        *("-device", '{"driver":"VGA","id":"video","bus":"pcie.0","addr":"0x1"}'),
        *("-device", '{"driver":"qemu-xhci","id":"usb","bus":"pcie.0","addr":"0x2"}'),
        *("-device", '{"driver":"usb-tablet","id":"tablet","bus":"usb.0"}'),
        *("-chardev", f"socket,id=serial,path={run}/serial.sock,server=on,wait=off"),
        *("-device", '{"driver":"isa-serial","id":"serial0","chardev":"serial"}'),
        *("-device", '{"driver":"virtio-serial-pci","id":"ports","bus":"pcie.0","addr":"0x3"}'),
        *("-chardev", f"socket,id=agent,path={run}/agent.sock,server=on,wait=off"),
        "-device",
        '{"driver":"virtserialport","id":"agent0","bus":"ports.0","chardev":"agent","name":"org.qemu.guest_agent.0"}',
        *("-object", '{"qom-type":"rng-builtin","id":"entropy"}'),
        *("-device", '{"driver":"virtio-rng-pci","id":"rng","bus":"pcie.0","addr":"0x4","rng":"entropy"}'),
        "-device",
        '{"driver":"virtio-balloon-pci","id":"balloon","bus":"pcie.0","addr":"0x5","free-page-reporting":true}',
        *(argument for port in ports() for argument in ("-device", json.dumps(port, separators=(",", ":")))),
        "-blockdev",
        '{"driver":"raw","node-name":"disc","read-only":true,"file":{"driver":"file",'
        '"filename":"/var/lib/offshoot/host/images/1a9e.iso","read-only":true}}',
        *("-device", '{"driver":"ide-cd","id":"disc-drive","bus":"ide.0","bootindex":1,"drive":"disc"}'),
        "-blockdev",
        f'{{"driver":"file","node-name":"disk0-file","filename":"{disk}","aio":"io_uring",'
        '"cache":{"direct":true},"discard":"unmap"}',
        "-blockdev",
        '{"driver":"qcow2","node-name":"disk0","file":"disk0-file","cache":{"direct":true},'
        '"discard":"unmap","detect-zeroes":"unmap"}',
        "-device",
        '{"driver":"virtio-blk-pci","id":"disk0-device","drive":"disk0","serial":"d15c0000000040008000",'
        '"werror":"stop","rerror":"stop","bus":"port8","bootindex":2}',
        *("-netdev", '{"type":"tap","id":"nic0","fd":"7"}'),
        "-device",
        '{"driver":"virtio-net-pci","id":"nic0-device","netdev":"nic0","mac":"52:54:00:00:00:0a",'
        '"bus":"port0","romfile":""}',
    ]
    assert list(qemu_argv(machine(), choices())) == expected


def test_the_same_command_again_has_the_cables_of_its_new_start_and_nothing_else_changed() -> None:
    argv = qemu_argv(machine(), choices())
    again = with_lines(argv, (9,), None)
    assert again == tuple(argument.replace('"fd":"7"', '"fd":"9"') for argument in argv)
    with pytest.raises(ValueError, match="1 cards but 2 taps"):
        with_lines(argv, (9, 10), None)


def test_kvm_is_used_where_it_works() -> None:
    argv = qemu_argv(machine(), choices(accelerator="kvm"))
    assert argv[argv.index("-accel") : argv.index("-accel") + 4] == ("-accel", "kvm", "-cpu", "host")


def test_an_old_system_gets_the_hardware_that_it_knows() -> None:
    old = machine(
        disks=(DISK.model_copy(update={"bus": DiskBus.SATA, "kind": DiskKind.FIXED}),),
        nics=(NIC.model_copy(update={"model": NicModel.E1000}),),
    )
    devices = drivers(qemu_argv(old, choices()))
    assert {"ide-hd", "e1000"} <= devices
    assert not {"virtio-blk-pci", "virtio-net-pci"} & devices


VARIABLES = FOLDER.variables_file(Firmware.UEFI_SECURE)
WINDOWS: dict[str, object] = {"guest": GuestKind.WINDOWS, "firmware": Firmware.UEFI_SECURE, "tpm": True}


def windows(**changes: object) -> tuple[str, ...]:
    """What a Windows machine is started with."""
    here = choices(
        firmware_code=UEFI[Firmware.UEFI_SECURE].code, firmware_variables=VARIABLES, tpm_fd=9, **changes
    )
    return qemu_argv(machine(**WINDOWS), here)


def test_secure_boot_has_variables_of_its_own_that_only_the_firmware_may_write() -> None:
    argv = windows()
    board = argv[argv.index("-machine") + 1]
    assert board == (
        "pc-q35-7.2,memory-backend=ram,vmport=off,hpet=off,pflash0=firmware-code,pflash1=firmware-variables,smm=on"
    )
    assert "driver=cfi.pflash01,property=secure,value=on" in argv
    nodes = {node["node-name"]: node for node in values(argv, "-blockdev")}
    assert nodes["firmware-code"] == {
        "driver": "raw",
        "node-name": "firmware-code",
        "read-only": True,
        "file": {"driver": "file", "filename": "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "read-only": True},
    }
    assert nodes["firmware-variables"]["driver"] == "qcow2"
    assert nodes["firmware-variables"]["file"]["filename"] == str(VARIABLES)


def test_a_plain_uefi_and_a_bios_have_no_secure_boot() -> None:
    plain = qemu_argv(
        machine(firmware=Firmware.UEFI),
        choices(
            firmware_code=UEFI[Firmware.UEFI].code, firmware_variables=FOLDER.variables_file(Firmware.UEFI)
        ),
    )
    for argv in (plain, qemu_argv(machine(), choices())):
        assert not any("cfi.pflash01" in word or "smm=on" in word for word in argv)
    assert any("OVMF_CODE_4M.fd" in word for word in plain)


def test_a_tpm_hangs_on_the_line_that_it_was_given_also_when_it_is_another() -> None:
    argv = windows()
    assert argv[argv.index("socket,id=tpm,fd=9") + 1 :][:2] == ("-tpmdev", "emulator,id=tpm0,chardev=tpm")
    assert "tpm-crb" in drivers(argv)
    again = with_lines(argv, (5,), 6)
    assert again == tuple(
        word.replace('"fd":"7"', '"fd":"5"').replace("id=tpm,fd=9", "id=tpm,fd=6") for word in argv
    )


@pytest.mark.parametrize(
    ("accelerator", "enlightened", "cpu"),
    [("tcg", True, "max"), ("kvm", False, "host"), ("kvm", True, "host,hv-relaxed,")],
)
def test_windows_finds_what_it_knows_where_there_is_such(
    accelerator: str, enlightened: bool, cpu: str
) -> None:
    argv = windows(accelerator=accelerator, enlightened=enlightened)
    assert argv[argv.index("-cpu") + 1].startswith(cpu)
    assert ("hv-" in argv[argv.index("-cpu") + 1]) == cpu.endswith(",")
    assert argv[argv.index("-rtc") + 1] == "base=localtime,driftfix=slew"
    assert ("kvm-pit.lost_tick_policy=delay" in argv) == (accelerator == "kvm")
    linux = qemu_argv(machine(), choices(accelerator=accelerator, enlightened=enlightened))
    assert linux[linux.index("-cpu") + 1] in ("max", "host")
    assert linux[linux.index("-rtc") + 1] == "base=utc"


def test_the_second_drive_is_there_for_windows_and_others_and_for_any_disc() -> None:
    def ports(**changes: object) -> list[object]:
        argv = qemu_argv(machine(**changes), choices(second_disc=Path("/srv/virtio-win.iso")))
        return [d["bus"] for d in devices(argv) if d["driver"] == "ide-cd"]

    assert ports() == ["ide.0"]
    assert (
        ports(second_disc=DISC)
        == ports(guest=GuestKind.OTHER)
        == ports(guest=GuestKind.WINDOWS, firmware=Firmware.BIOS)
    )
    assert ports(second_disc=DISC) == ["ide.0", "ide.5"]
    ids = [UUID(int=number) for number in range(5)]
    sata = tuple(
        DISK.model_copy(update={"id": each, "bus": DiskBus.SATA, "slot": slot})
        for slot, each in enumerate(ids)
    )
    here = choices(disk_files={each: FOLDER.root / str(each) for each in ids})
    assert "ide.5" in {d.get("bus") for d in devices(qemu_argv(machine(disks=sata), here))}
    with pytest.raises(ValueError, match="more than 4 SATA disks"):
        qemu_argv(machine(disks=sata, guest=GuestKind.OTHER), here)


def test_after_the_installation_the_disk_comes_first() -> None:
    argv = qemu_argv(machine(disc=None, boot_from=BootFrom.DISK), choices(disc=None))
    order = {d["id"]: d["bootindex"] for d in devices(argv) if "bootindex" in d}
    assert order == {"disk0-device": 1, "disc-drive": 2}
    assert not any('"node-name":"disc"' in argument for argument in argv)


def test_a_card_without_a_tap_is_refused() -> None:
    with pytest.raises(ValueError, match="1 cards but 0 taps"):
        qemu_argv(machine(), choices(tap_fds=()))


hostile = st.text(
    alphabet=st.one_of(
        st.sampled_from(",=-\n\r\t\"'\\{}[];:%$`| "),
        st.sampled_from(string.ascii_letters),
        st.characters(
            exclude_categories=["Cs"]
        ),  # half of a surrogate pair is no text: no message can carry it
    ),
    min_size=1,
    max_size=63,
).filter(lambda name: "\0" not in name)


@given(name=hostile)
def test_no_name_becomes_an_option_or_a_second_property(name: str) -> None:
    plain = list(qemu_argv(machine(name="x"), choices()))
    argv = list(qemu_argv(machine(name=name), choices()))
    position = plain.index("guest=x,debug-threads=on")
    assert argv[:position] + argv[position + 1 :] == plain[:position] + plain[position + 1 :]
    assert properties(argv[position]) == [("guest", name), ("debug-threads", "on")]


@given(folder=hostile.filter(lambda text: "/" not in text and text not in (".", "..")))
def test_no_path_becomes_a_second_property(folder: str) -> None:
    place = MachineFolder(Path("/srv") / folder)
    argv = list(
        qemu_argv(
            machine(),
            choices(
                folder=place,
                disc=Path("/srv") / folder / "disc.iso",
                disk_files={DISK.id: Path("/srv") / folder / "d"},
            ),
        )
    )
    for option, value in itertools.pairwise(argv):
        if option == "-chardev":
            assert [key for key, _ in properties(value)] == ["socket", "id", "path", "server", "wait"]
        if option == "-vnc":
            assert properties(value) == [(f"unix:{place.vnc_socket}", "")] or "=" in folder
            assert len(properties(value)) == 1
        if option in ("-blockdev", "-device", "-netdev", "-object"):
            json.loads(value)
    files = [json.loads(v) for o, v in itertools.pairwise(argv) if o == "-blockdev"]
    assert files[0]["file"]["filename"] == str(Path("/srv") / folder / "disc.iso")


def properties(value: str) -> list[tuple[str, str]]:
    """qemu's own reading of an option (util/keyval.c, qemu-option.c): a comma ends a property, two are one."""
    parts: list[str] = [""]
    rest = value
    while rest:
        if rest.startswith(",,"):
            parts[-1] += ","
            rest = rest[2:]
        elif rest[0] == ",":
            parts.append("")
            rest = rest[1:]
        else:
            parts[-1] += rest[0]
            rest = rest[1:]
    return [(key, text) for key, _equals, text in (part.partition("=") for part in parts)]


def devices(argv: tuple[str, ...]) -> list[dict[str, object]]:
    return values(argv, "-device")


def values(argv: tuple[str, ...], wanted: str) -> list[dict[str, Any]]:
    return [json.loads(value) for option, value in itertools.pairwise(argv) if option == wanted]


def drivers(argv: tuple[str, ...]) -> set[object]:
    return {device["driver"] for device in devices(argv)}
