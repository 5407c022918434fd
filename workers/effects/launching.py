"""From a wish to a running qemu: the disc, the disks, the cables, the launch. Each can be done twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog

from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.spec import DiskKind, Firmware, GuestKind, MachineSpec
from workers.effects.work import Work
from workers.host import firmware, library, networks, processes, tpm
from workers.host.boot import boot_id
from workers.host.change_records import forget_changes
from workers.host.enlightenments import kvm_is_enlightened
from workers.host.facts import host_usage
from workers.killpoints import reached
from workers.plan.changes import as_started, most_mib
from workers.plan.names import MachineFolder
from workers.plan.qemu import Accelerator, HostChoices, qemu_argv, with_lines
from workers.this_host import Host

log = structlog.get_logger()


class MemoryShort(OffshootError):
    """The host has less memory free than the machine wants."""

    code = ErrorCode.MEMORY_SHORT


def fetch_disc(work: Work) -> None:
    """The discs of the drives lie on this host, checked."""
    for disc in filter(None, (work.spec.disc, work.spec.second_disc)):
        library.fetch_disc(
            disc,
            folder=work.host.config.state.images,
            portal_url=work.host.config.portal_url,
            fleet_key=work.host.config.fleet_key,
            progress=work.tell,
        )


def prepare_network(work: Work) -> None:
    """The machine's networks are there, and a tap for each of its cards."""
    with _unplugged_on_failure(work.host, work.spec):
        networks.plug(work.host.config, work.spec)


@contextmanager
def _unplugged_on_failure(host: Host, spec: MachineSpec) -> Iterator[None]:
    """Pull the machine's cables again where what is done inside fails; that failure is what is told."""
    folder = host.folder(spec.machine_id)
    try:
        yield
    except Exception:
        try:
            networks.unplug(host.config, spec.machine_id)
            if not processes.runs(folder):
                tpm.end(folder, spec.machine_id)
        except Exception:
            log.exception("not undone", machine=str(spec.machine_id))
        raise


def launch(work: Work) -> None:
    """Start qemu as it is wanted."""
    start(work, work.spec)


def start(
    work: Work,
    spec: MachineSpec,
    *,
    accelerator: Accelerator | None = None,
    argv_before: Sequence[str] = (),
    more: Sequence[str] = (),
) -> None:
    """Start qemu with the hardware of `spec`. Raises MemoryShort or LaunchError; then its cables are pulled again.

    With `argv_before` it is exactly the command of an earlier start, but for its cables. `more` are further arguments.
    """
    host, folder = work.host, work.folder
    with _unplugged_on_failure(host, spec):
        if processes.runs(folder):  # before its TPM is touched
            raise processes.LaunchError("another qemu of this machine is running already")
        free = host_usage(host.config.state.root).memory_free_mib
        if most_mib(spec) > free:
            raise MemoryShort(f"{most_mib(spec)} MiB wanted, {free} MiB free on {host.config.name}")
        _forget_unsound_records(host, spec)
        firmware.make_store(folder, spec.firmware, uid=host.config.uid, gid=host.config.gid)
        taps = networks.open_taps(spec)
        reached("taps opened")
        lines = list(taps)
        try:
            tpm_fd = None
            if spec.tpm:
                tpm_fd = tpm.start(folder, spec.machine_id, uid=host.config.uid, gid=host.config.gid)
                lines.append(tpm_fd)
            choices = choices_for(host, spec, folder, taps, accelerator=accelerator, tpm_fd=tpm_fd)
            argv = with_lines(argv_before, taps, tpm_fd) if argv_before else qemu_argv(spec, choices)
        except BaseException:
            networks.close_taps(lines)
            raise
        with _tpm_told_apart(folder):
            processes.start(
                folder,
                spec.machine_id,
                (*argv, *more),
                line_fds=lines,
                monitors=host.monitors,
                uid=host.config.uid,
                gid=host.config.gid,
                extra_groups=(host.config.kvm_gid,) if choices.accelerator == "kvm" else (),
                record={
                    "run": spec.run,
                    "boot": boot_id(),
                    "generation": work.spec.generation,
                    "accelerator": choices.accelerator,
                    "disc": str(spec.disc.image_id) if spec.disc else None,
                    "second_disc": str(spec.second_disc.image_id) if spec.second_disc else None,
                    "spec": as_started(spec).to_wire(),
                    "spec_at_start": as_started(spec).to_wire(),
                    "ports": True,
                },
            )
    host.on_launch(spec.machine_id)


@contextmanager
def _tpm_told_apart(folder: MachineFolder) -> Iterator[None]:
    """Where qemu did not come up because of the machine's TPM, that is what is told."""
    try:
        yield
    except processes.LaunchError as exc:
        if "tpm-emulator: " not in exc.detail:
            raise
        raise tpm.TpmError(f"{exc.detail}\n{tpm.words(folder)}") from exc


def _forget_unsound_records(host: Host, spec: MachineSpec) -> None:
    """What a qemu that was killed has left half-written of a disk's changes would only be in the way."""
    for disk in spec.disks:
        path = host.disk_file(spec.machine_id, disk)
        if disk.kind is DiskKind.GROWING and path.exists():
            forget_changes(path, uid=host.config.uid, gid=host.config.gid, only_unsound=True)


def choices_for(
    host: Host,
    spec: MachineSpec,
    folder: MachineFolder,
    taps: tuple[int, ...],
    *,
    accelerator: Accelerator | None = None,
    tpm_fd: int | None = None,
    second_drive: bool = False,
) -> HostChoices:
    """What this host adds to the spec. Raises PlaceMissing, FirmwareError."""
    direct_io = host.takes_direct_io(spec)
    uefi = spec.firmware is not Firmware.BIOS
    return HostChoices(
        accelerator=accelerator or host.accelerator,
        asynchronous_io="io_uring" if direct_io else "threads",
        direct_io=direct_io,
        folder=folder,
        tap_fds=taps,
        disc=host.disc_file(spec.disc),
        second_disc=host.disc_file(spec.second_disc),
        firmware_code=firmware.code_file(spec.firmware),
        firmware_variables=folder.variables_file(spec.firmware) if uefi else None,
        tpm_fd=tpm_fd,
        second_drive=second_drive,
        enlightened=spec.guest is GuestKind.WINDOWS and kvm_is_enlightened(),
        seed=folder.seed_file if spec.seed else None,
        disk_files={disk.id: host.disk_file(spec.machine_id, disk) for disk in spec.disks},
    )
