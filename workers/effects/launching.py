"""From a wish to a running qemu: the disc, the disks, the cables, the launch. Each can be done twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.spec import MachineSpec
from workers.effects.work import Work
from workers.host import library, networks, processes
from workers.host.boot import boot_id
from workers.host.facts import host_usage
from workers.killpoints import reached
from workers.plan.qemu import HostChoices, qemu_argv
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
    """Start qemu. Raises MemoryShort or LaunchError; then its cables are pulled again."""
    with _unplugged_on_failure(work.host, work.spec):
        free = host_usage(work.host.config.state.root).memory_free_mib
        if work.spec.memory_mib > free:
            raise MemoryShort(
                f"{work.spec.memory_mib} MiB wanted, {free} MiB free on {work.host.config.name}"
            )
        taps = networks.open_taps(work.spec)
        reached("taps opened")
        try:
            choices = HostChoices(
                accelerator=work.host.accelerator,
                asynchronous_io="io_uring" if work.host.direct_io else "threads",
                direct_io=work.host.direct_io,
                folder=work.folder,
                tap_fds=taps,
                disc=work.host.disc_file(work.spec.disc),
                disk_files={
                    disk.id: work.host.disk_file(work.spec.machine_id, disk) for disk in work.spec.disks
                },
            )
            argv = qemu_argv(work.spec, choices)
        except BaseException:
            networks.close_taps(taps)
            raise
        processes.start(
            work.folder,
            work.spec.machine_id,
            argv,
            tap_fds=taps,
            monitors=work.host.monitors,
            uid=work.host.config.uid,
            gid=work.host.config.gid,
            extra_groups=(work.host.config.kvm_gid,) if choices.accelerator == "kvm" else (),
            record={
                "run": work.spec.run,
                "boot": boot_id(),
                "generation": work.spec.generation,
                "accelerator": choices.accelerator,
                "disc": str(work.spec.disc.image_id) if work.spec.disc else None,
                "spec": work.spec.to_wire(),
            },
        )
    work.host.on_launch(work.spec.machine_id)
