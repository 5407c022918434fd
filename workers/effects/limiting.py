"""What a running machine may take of its host: bandwidth, operations and bytes of its disks, its share of the processors.

Each limit is set and noted on its own, so that a worker that was killed in between goes on with the rest.
"""

from __future__ import annotations

from contextlib import suppress

import structlog

from workers.contract.disks import MIB
from workers.contract.errors import OffshootError
from workers.contract.spec import DiskBus, DiskSpec, MachineSpec
from workers.effects.work import Work
from workers.host import cgroups, living, shaping
from workers.host.monitor import MonitorError
from workers.killpoints import reached
from workers.plan.changes import limited_as
from workers.plan.names import tap_name
from workers.plan.qemu import disk_device_id

log = structlog.get_logger()


def change_limits(work: Work) -> None:
    """All limits of what is plugged in are as they are wanted. Raises LimitError; then they are again what they were."""
    now = living.living(work.folder)
    if now is None:
        return
    try:
        _limit(work, limited_as(now.spec, work.spec))
    except OffshootError:
        with suppress(OffshootError):
            _limit(work, now.spec)
        raise


def limit_disk(work: Work, disk: DiskSpec) -> None:
    """Reads and writes of a plugged disk together; idempotent, and for its device, whatever its blocks go through.

    Raises LimitError. (QMP: block_set_io_throttle; a virtio disk's blocks are its backend's.)
    """
    device = f"/machine/peripheral/{disk_device_id(disk)}"
    limits = {
        "id": device if disk.bus is DiskBus.SATA else f"{device}/virtio-backend",
        "iops": disk.iops or 0,
        "bps": (disk.mib_per_second or 0) * MIB,
        **dict.fromkeys(("iops_rd", "iops_wr", "bps_rd", "bps_wr"), 0),
    }
    try:
        work.host.monitors.execute(work.folder.qmp_socket, ("block_set_io_throttle", limits))
    except MonitorError as exc:
        raise shaping.LimitError(f"{disk_device_id(disk)}: {exc.detail}") from exc


def _limit(work: Work, spec: MachineSpec) -> None:
    if not cgroups.weigh(spec.machine_id, spec.cpu_weight):
        log.info("processors are not shared by weight here", machine=str(spec.machine_id))
    living.note_living(work.folder, cpu_weight=spec.cpu_weight)
    reached("processors weighed")
    for disk in spec.disks:
        limit_disk(work, disk)
    living.note_living(work.folder, disks=spec.disks)
    reached("disks limited")
    for nic in spec.nics:
        shaping.limit_card(tap_name(nic), mbit_in=nic.mbit_in, mbit_out=nic.mbit_out)
    living.note_living(work.folder, nics=spec.nics)
