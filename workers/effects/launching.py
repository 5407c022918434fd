"""From a wish to a running qemu: the disc, the disks, the cables, the launch. Each can be done twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog

from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.spec import MachineSpec
from workers.effects.work import Work
from workers.host import library, networks, processes
from workers.host.boot import boot_id
from workers.host.facts import host_usage
from workers.killpoints import reached
from workers.plan.names import MachineFolder
from workers.plan.qemu import Accelerator, HostChoices, qemu_argv, with_taps
from workers.this_host import Host

log = structlog.get_logger()


class MemoryShort(OffshootError):
    """The host has less memory free than the machine wants."""

    code = ErrorCode.MEMORY_SHORT


def fetch_disc(work: Work) -> None:
    """The disc of the drive lies on this host, checked."""
    if work.spec.disc is not None:
        library.fetch_disc(
            work.spec.disc,
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
    try:
        yield
    except Exception:
        try:
            networks.unplug(host.config, spec.machine_id)
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
        free = host_usage(host.config.state.root).memory_free_mib
        if spec.memory_mib > free:
            raise MemoryShort(f"{spec.memory_mib} MiB wanted, {free} MiB free on {host.config.name}")
        taps = networks.open_taps(spec)
        reached("taps opened")
        try:
            choices = choices_for(host, spec, folder, taps, accelerator=accelerator)
            argv = with_taps(argv_before, taps) if argv_before else qemu_argv(spec, choices)
        except BaseException:
            networks.close_taps(taps)
            raise
        processes.start(
            folder,
            spec.machine_id,
            (*argv, *more),
            tap_fds=taps,
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
                "spec": spec.to_wire(),
                "spec_at_start": spec.to_wire(),
            },
        )
    host.on_launch(spec.machine_id)


def choices_for(
    host: Host,
    spec: MachineSpec,
    folder: MachineFolder,
    taps: tuple[int, ...],
    *,
    accelerator: Accelerator | None = None,
) -> HostChoices:
    """What this host adds to the spec. Raises PlaceMissing."""
    direct_io = host.takes_direct_io(spec)
    return HostChoices(
        accelerator=accelerator or host.accelerator,
        asynchronous_io="io_uring" if direct_io else "threads",
        direct_io=direct_io,
        folder=folder,
        tap_fds=taps,
        disc=host.disc_file(spec.disc),
        disk_files={disk.id: host.disk_file(spec.machine_id, disk) for disk in spec.disks},
    )
