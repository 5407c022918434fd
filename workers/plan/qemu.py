"""The argument list of qemu for a machine. Pure: spec in, list out.

Sources: qemu-system-x86_64(1) 7.2, docs/interop/qmp-ref for the JSON forms, and https://www.qemu.org/docs/master/system/security.html.
Everything is given by -blockdev, -netdev, -device and -object in JSON, where no value can become a second property;
the few options without a JSON form (-name, -chardev, -vnc) have their commas doubled (qemu: "commas must be escaped by doubling").
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import UUID

from workers.contract.spec import (
    MIB,
    BootFrom,
    DiskBus,
    DiskKind,
    DiskSpec,
    Firmware,
    GuestKind,
    MachineSpec,
    NicModel,
    NicSpec,
)
from workers.plan.changes import most_mib
from workers.plan.names import MachineFolder
from workers.plan.ports import SEED_PORT, disk_port, nic_port, ports, seed_port

QEMU = "qemu-system-x86_64"
MACHINE_TYPE = "pc-q35-7.2"
"""Pinned: a moving alias would change the hardware under an installed system."""

SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
FIRMWARE_CODE_NODE, FIRMWARE_VARIABLES_NODE = "firmware-code", "firmware-variables"
AGENT_PORT = "org.qemu.guest_agent.0"
AGENT_DEVICE = "agent0"
BALLOON_DEVICE = "balloon"
SERIAL_CHARDEV = "serial"

Accelerator = Literal["kvm", "tcg"]
AsyncIo = Literal["io_uring", "native", "threads"]

# Slots on the root bus are fixed by role, so that a guest finds its hardware where it was at every start.
_SLOT_VIDEO, _SLOT_USB, _SLOT_SERIAL, _SLOT_RNG, _SLOT_BALLOON = 1, 2, 3, 4, 5
_SLOT_FIRST_OLD_NIC = 6
_SATA_PORTS = 6
_SECOND_DRIVE_PORT = 5
_TPM_LINE = "socket,id=tpm,fd="

# What Windows looks for on a hypervisor, in kernels since 4.20 (qemu: docs/system/i386/hyperv.rst).
_ENLIGHTENMENTS = (
    "hv-relaxed", "hv-vapic", "hv-spinlocks=0x1fff", "hv-vpindex", "hv-runtime", "hv-synic", "hv-stimer", "hv-time",
    "hv-tlbflush", "hv-ipi",
)  # fmt: skip


@dataclass(frozen=True)
class HostChoices:
    """What the host adds to the spec: what works on it, and where things lie.

    `disk_files` says where each disk lies, `disc` where the cached disc, `seed` what a cloud image reads; `tap_fds` are
    the open taps, one a card, as numbers that qemu inherits; `tpm_fd` is the line to the machine's TPM. `firmware_code`
    and `firmware_variables` are there for UEFI. `enlightened`: KVM knows what Windows looks for.
    """

    accelerator: Accelerator
    asynchronous_io: AsyncIo
    direct_io: bool
    folder: MachineFolder
    tap_fds: tuple[int, ...]
    disc: Path | None
    disk_files: Mapping[UUID, Path]
    second_disc: Path | None = None
    seed: Path | None = None
    firmware_code: Path | None = None
    firmware_variables: Path | None = None
    tpm_fd: int | None = None
    enlightened: bool = False
    second_drive: bool = False


@dataclass(frozen=True)
class Drive:
    """A disc drive: its device, the node of the disc in it, and its port."""

    device: str
    node: str
    port: int


DRIVE = Drive("disc-drive", "disc", 0)
SECOND_DRIVE = Drive("second-disc-drive", "second-disc", _SECOND_DRIVE_PORT)


def qemu_argv(spec: MachineSpec, host: HostChoices) -> tuple[str, ...]:
    """The whole argument list, program first. Raises ValueError where taps and cards do not match."""
    if len(host.tap_fds) != len(spec.nics):
        raise ValueError(f"{len(spec.nics)} cards but {len(host.tap_fds)} taps")
    folder = host.folder
    return (
        QEMU,
        *("-name", f"guest={escape(spec.name)},debug-threads=on"),
        *("-uuid", str(spec.machine_id)),
        *("-no-user-config", "-nodefaults"),
        *("-sandbox", SANDBOX),
        *_machine(spec, host),
        *_accelerator(spec, host),
        *("-smp", f"cpus={spec.cpus},sockets=1,cores={spec.cpus},threads=1"),
        *("-m", f"size={most_mib(spec)}M"),
        *_object("memory-backend-memfd", "ram", size=most_mib(spec) * MIB, share=True),
        *_clock(spec, host),
        *("-boot", "strict=on"),
        # A crashed system stays on the screen, and is told of, until a person has seen it.
        *("-action", "panic=pause"),
        *_device("pvpanic", id="panic"),
        *("-global", "ICH9-LPC.disable_s3=1", "-global", "ICH9-LPC.disable_s4=1"),
        *("-pidfile", str(folder.pid_file)),
        *("-msg", "timestamp=on"),
        *_monitor("qmp", folder.qmp_socket),
        *_monitor("events", folder.events_socket),
        *("-vnc", f"unix:{escape(str(folder.vnc_socket))}"),
        *_device("VGA", id="video", bus="pcie.0", addr=_slot(_SLOT_VIDEO)),
        *_device("qemu-xhci", id="usb", bus="pcie.0", addr=_slot(_SLOT_USB)),
        *_device("usb-tablet", id="tablet", bus="usb.0"),
        *_chardev(SERIAL_CHARDEV, folder.serial_socket),
        *_device("isa-serial", id="serial0", chardev=SERIAL_CHARDEV),
        *_device("virtio-serial-pci", id="ports", bus="pcie.0", addr=_slot(_SLOT_SERIAL)),
        *_chardev("agent", folder.agent_socket),
        *_device("virtserialport", id=AGENT_DEVICE, bus="ports.0", chardev="agent", name=AGENT_PORT),
        *_object("rng-builtin", "entropy"),
        *_device("virtio-rng-pci", id="rng", bus="pcie.0", addr=_slot(_SLOT_RNG), rng="entropy"),
        *_device(
            "virtio-balloon-pci",
            id=BALLOON_DEVICE,
            bus="pcie.0",
            addr=_slot(_SLOT_BALLOON),
            **{"free-page-reporting": True},
        ),
        *_tpm(spec, host),
        *(argument for port in ports() for argument in ("-device", _json(port))),
        *_disc(spec, host),
        *_second_disc(spec, host),
        *(argument for disk in spec.disks for argument in _disk(disk, spec, host)),
        *(_seed(host.seed) if host.seed else ()),
        *(
            argument
            for nic, tap_fd in zip(spec.nics, host.tap_fds, strict=True)
            for argument in _nic(nic, tap_fd)
        ),
    )


def with_lines(argv: Sequence[str], tap_fds: tuple[int, ...], tpm_fd: int | None) -> tuple[str, ...]:
    """The same command with other open taps, one a card, in the order of its cards, and another line to its TPM.

    Raises ValueError where they do not match.
    """
    positions = [i + 1 for i, argument in enumerate(argv) if argument == "-netdev"]
    if len(positions) != len(tap_fds):
        raise ValueError(f"{len(positions)} cards but {len(tap_fds)} taps")
    changed = list(argv)
    for position, tap_fd in zip(positions, tap_fds, strict=True):
        changed[position] = _json(json.loads(changed[position]) | {"fd": str(tap_fd)})
    if tpm_fd is not None:
        [line] = [i for i, argument in enumerate(argv) if argument.startswith(_TPM_LINE)]
        changed[line] = f"{_TPM_LINE}{tpm_fd}"
    return tuple(changed)


def disc_blockdev(path: Path, drive: Drive = DRIVE) -> dict[str, object]:
    """The block node of a drive's disc; also what QMP's blockdev-add takes when a disc is put in later.

    Raw and read-only, never probed: an image that looks like qcow2 inside stays a plain disc.
    """
    return {
        "driver": "raw",
        "node-name": drive.node,
        "read-only": True,
        "file": {"driver": "file", "filename": str(path), "read-only": True},
    }


def escape(value: str) -> str:
    """A value inside qemu's option syntax: a comma ends a property unless it is doubled."""
    return value.replace(",", ",,")


def _machine(spec: MachineSpec, host: HostChoices) -> tuple[str, ...]:
    """The board with its firmware. Raises ValueError where a UEFI's files are not named."""
    board = f"{MACHINE_TYPE},memory-backend=ram,vmport=off,hpet=off"
    if spec.firmware is Firmware.BIOS:
        return ("-machine", board)
    if host.firmware_code is None or host.firmware_variables is None:
        raise ValueError("a UEFI without its files")
    code: dict[str, object] = {
        "driver": "raw",
        "node-name": FIRMWARE_CODE_NODE,
        "read-only": True,
        "file": {"driver": "file", "filename": str(host.firmware_code), "read-only": True},
    }
    variables: dict[str, object] = {
        "driver": "qcow2",
        "node-name": FIRMWARE_VARIABLES_NODE,
        "file": {"driver": "file", "filename": str(host.firmware_variables)},
    }
    board += f",pflash0={FIRMWARE_CODE_NODE},pflash1={FIRMWARE_VARIABLES_NODE}"
    blockdevs = ("-blockdev", _json(code), "-blockdev", _json(variables))
    if spec.firmware is Firmware.UEFI:
        return (*blockdevs, "-machine", board)
    # Only the firmware itself, in system management mode, may write its variables: else a guest switches Secure Boot off.
    secure = ("-global", "driver=cfi.pflash01,property=secure,value=on")
    return (*blockdevs, "-machine", f"{board},smm=on", *secure)


def _accelerator(spec: MachineSpec, host: HostChoices) -> tuple[str, ...]:
    if host.accelerator == "tcg":
        return ("-accel", "tcg,thread=multi", "-cpu", "max")
    enlightenments = _ENLIGHTENMENTS if spec.guest is GuestKind.WINDOWS and host.enlightened else ()
    return ("-accel", "kvm", "-cpu", ",".join(("host", *enlightenments)))


def _clock(spec: MachineSpec, host: HostChoices) -> tuple[str, ...]:
    """Windows takes the clock for local time, and loses ticks that come late unless they are made up for."""
    if spec.guest is not GuestKind.WINDOWS:
        return ("-rtc", "base=utc")
    ticks = ("-global", "kvm-pit.lost_tick_policy=delay") if host.accelerator == "kvm" else ()
    return ("-rtc", "base=localtime,driftfix=slew", *ticks)


def _tpm(spec: MachineSpec, host: HostChoices) -> tuple[str, ...]:
    if not spec.tpm:
        return ()
    if host.tpm_fd is None:
        raise ValueError("a TPM without a line to it")
    return (
        *("-chardev", f"{_TPM_LINE}{host.tpm_fd}"),
        *("-tpmdev", "emulator,id=tpm0,chardev=tpm"),
        *_device("tpm-crb", id="tpm0-device", tpmdev="tpm0"),
    )


def _monitor(name: str, path: Path) -> tuple[str, ...]:
    return (*_chardev(name, path), "-mon", f"chardev={name},mode=control")


def _chardev(name: str, path: Path) -> tuple[str, ...]:
    return ("-chardev", f"socket,id={name},path={escape(str(path))},server=on,wait=off")


def _disc(spec: MachineSpec, host: HostChoices) -> tuple[str, ...]:
    """The drive is always there, so that a disc can be put in and taken out while the machine runs."""
    return _drive(DRIVE, host.disc, bootindex=boot_order(spec)[DRIVE.device])


def _second_disc(spec: MachineSpec, host: HostChoices) -> tuple[str, ...]:
    """Nothing starts from the second drive: it is there for drivers."""
    is_there = spec.has_second_drive or host.second_drive
    return _drive(SECOND_DRIVE, host.second_disc) if is_there else ()


def _drive(drive: Drive, disc: Path | None, **properties: object) -> tuple[str, ...]:
    properties = {"id": drive.device, "bus": f"ide.{drive.port}", **properties}
    if disc is None:
        return _device("ide-cd", **properties)
    return (
        "-blockdev",
        _json(disc_blockdev(disc, drive)),
        *_device("ide-cd", **properties, drive=drive.node),
    )


def _disk(disk: DiskSpec, spec: MachineSpec, host: HostChoices) -> tuple[str, ...]:
    blockdevs = tuple(argument for node in disk_nodes(disk, host) for argument in ("-blockdev", _json(node)))
    boot = {"bootindex": boot_order(spec)[disk_device_id(disk)]}
    if disk.bus is DiskBus.SATA:
        port = 1 + sum(1 for other in spec.disks if other.bus is DiskBus.SATA and other.slot < disk.slot)
        most = _SECOND_DRIVE_PORT if spec.has_second_drive else _SATA_PORTS
        if port >= most:
            raise ValueError(f"more than {most - 1} SATA disks")
        device = {"driver": "ide-hd", **_disk_properties(disk), "bus": f"ide.{port}"}
        return (*blockdevs, "-device", _json(device | boot))
    return (*blockdevs, "-device", _json(disk_device(disk) | boot))


def disk_node(disk: DiskSpec) -> str:
    """The name of a disk's block node; its file's node is called `<this>-file`."""
    return f"disk{disk.slot}"


def disk_device_id(disk: DiskSpec) -> str:
    """The name of the device that a disk is."""
    return f"{disk_node(disk)}-device"


def disk_nodes(disk: DiskSpec, host: HostChoices) -> tuple[dict[str, object], dict[str, object]]:
    """The block nodes of a disk, its file's first; also what QMP's blockdev-add takes."""
    name = disk_node(disk)
    growing = disk.kind is DiskKind.GROWING
    # A fixed disk keeps its room: passing discards down would give it back to the host.
    discard = "unmap" if growing else "ignore"
    file: dict[str, object] = {
        "driver": "file",
        "node-name": f"{name}-file",
        "filename": str(host.disk_files[disk.id]),
        "aio": host.asynchronous_io,
        "cache": {"direct": host.direct_io},
        "discard": discard,
    }
    image: dict[str, object] = {
        "driver": "qcow2" if growing else "raw",
        "node-name": name,
        "file": f"{name}-file",
        "cache": {"direct": host.direct_io},
        "discard": discard,
        "detect-zeroes": "unmap" if growing else "off",
    }
    return file, image


def disk_device(disk: DiskSpec) -> dict[str, object]:
    """A virtio disk in its port, without its place in the boot order; also what QMP's device_add takes.

    Without a thread of its own (iothread): where a guest's system takes its disk anew while a job of ours reads it, as after a
    restart, qemu 7.2 then ends itself ("qemu_mutex_unlock_impl: Operation not permitted", bdrv_try_change_aio_context).
    """
    return {"driver": "virtio-blk-pci", **_disk_properties(disk), "bus": disk_port(disk.slot)}


def disk_serial(disk: DiskSpec) -> str:
    """What a guest reads as the disk's serial number, by which it is told from another one in the same place."""
    return disk.id.hex[:20]


def _disk_properties(disk: DiskSpec) -> dict[str, object]:
    return {
        "id": disk_device_id(disk),
        "drive": disk_node(disk),
        "serial": disk_serial(disk),
        # The machine stands still until its disk can be read and written again; its system sees no error.
        "werror": "stop",
        "rerror": "stop",
    }


def boot_order(spec: MachineSpec) -> dict[str, int]:
    """The devices that a system can be started from, by their rank: the lowest is tried first."""
    first = [disk for disk in spec.disks if disk.slot == spec.boot_slot]
    rest = sorted((disk for disk in spec.disks if disk.slot != spec.boot_slot), key=lambda disk: disk.slot)
    disks = [disk_device_id(disk) for disk in (*first, *rest)]
    names = [DRIVE.device, *disks] if spec.boot_from is BootFrom.DISC else [*disks, DRIVE.device]
    return {name: rank for rank, name in enumerate(names, start=1)}


def nic_node(nic: NicSpec) -> str:
    """The name of a card's end of the cable."""
    return f"nic{nic.slot}"


def nic_device_id(nic: NicSpec) -> str:
    """The name of the device that a card is."""
    return f"{nic_node(nic)}-device"


def nic_cable(nic: NicSpec, tap: str) -> dict[str, object]:
    """The cable of a card, `tap` being an open tap's number or the name that it was handed over by; also for QMP's netdev_add."""
    return {"type": "tap", "id": nic_node(nic), "fd": tap}


def nic_device(nic: NicSpec) -> dict[str, object]:
    """A card in its port, or, being of the old kind that has none, in its slot; also what QMP's device_add takes."""
    is_virtio = nic.model is NicModel.VIRTIO
    place = (
        {"bus": nic_port(nic.slot)}
        if is_virtio
        else {"bus": "pcie.0", "addr": _slot(_SLOT_FIRST_OLD_NIC + nic.slot)}
    )
    return {
        "driver": "virtio-net-pci" if is_virtio else "e1000",
        "id": nic_device_id(nic),
        "netdev": nic_node(nic),
        "mac": nic.mac,
        **place,
        # No option ROM: booting from the network is not offered, and waiting for it would slow each start.
        "romfile": "",
    }


def _seed(path: Path) -> tuple[str, ...]:
    """A disk and not a disc: the kernels of cloud images know no drive."""
    node = {
        "driver": "raw",
        "node-name": "seed",
        "read-only": True,
        "file": {"driver": "file", "filename": str(path), "read-only": True},
    }
    return (
        *("-blockdev", _json(node)),
        *("-device", _json(seed_port())),
        *_device("virtio-blk-pci", id="seed-device", drive="seed", bus=SEED_PORT),
    )


def _nic(nic: NicSpec, tap_fd: int) -> tuple[str, ...]:
    return ("-netdev", _json(nic_cable(nic, str(tap_fd))), "-device", _json(nic_device(nic)))


def _object(kind: str, name: str, **properties: object) -> tuple[str, str]:
    return ("-object", _json({"qom-type": kind, "id": name, **properties}))


def _device(driver: str, **properties: object) -> tuple[str, str]:
    return ("-device", _json({"driver": driver, **properties}))


def _slot(number: int) -> str:
    return f"{number:#x}"


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, separators=(",", ":"))
