"""Plugging disks and network cards into a running machine, and pulling them out.

Each device is plugged, or pulled, and noted on its own. What a worker that was killed left of one half plugged is
taken away before it is plugged again.
"""

from __future__ import annotations

import os
import time
from typing import Any

from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.spec import DiskBus, DiskSpec, MachineSpec, NicModel, NicSpec
from workers.effects.launching import choices_for
from workers.effects.limiting import limit_disk
from workers.effects.tuning import set_boot_order
from workers.effects.work import Work
from workers.host import living, networks, processes, shaping
from workers.host.left import left_disks
from workers.host.made import forget_disk, made_disks
from workers.host.monitor import MonitorError, run_state
from workers.killpoints import reached
from workers.observation import wanted_disks
from workers.plan.changes import changes
from workers.plan.names import tap_name
from workers.plan.qemu import (
    boot_order,
    disk_device,
    disk_device_id,
    disk_node,
    disk_nodes,
    disk_serial,
    nic_cable,
    nic_device,
    nic_device_id,
    nic_node,
)

UNPLUG_SECONDS = 30.0
"""How long a guest is given to let go of a device; a healthy one needs less than one second."""

_ASK_AGAIN_SECONDS = 3.0


class HardwareRefused(OffshootError):
    """The running machine did not take or give up a device."""

    code = ErrorCode.HARDWARE_REFUSED


def change_devices(work: Work) -> None:
    """What is wanted and can be plugged is plugged in, what is not wanted is pulled; then the files of removed disks go.

    Raises HardwareRefused where qemu or the guest does not do it; what was done before that stays done and is noted.
    """
    now = living.living(work.folder) if processes.runs(work.folder) else None
    if now is not None:
        found = changes(work.spec, now.spec, ports=now.ports)
        for disk in found.unplug_disks:
            _pull_disk(work, disk)
        for nic in found.unplug_nics:
            _pull_nic(work, nic)
        for disk in found.plug_disks:
            work.end_early()
            _plug_disk(work, disk)
        for nic in found.plug_nics:
            work.end_early()
            _plug_nic(work, nic)
    _remove_left(work)


def settle_pulled(work: Work) -> bool:
    """Note devices that the guest let go of when nobody waited for it any more, as at its restart; False where none is gone.

    Call it under the apply lock. They are plugged in again with the next wish that has them.
    """
    devices, spec = _devices(work), _living(work)
    disks = tuple(disk for disk in spec.disks if disk.bus is DiskBus.SATA or disk_device_id(disk) in devices)
    nics = tuple(
        nic for nic in spec.nics if nic.model is not NicModel.VIRTIO or nic_device_id(nic) in devices
    )
    if (disks, nics) == (spec.disks, spec.nics):
        return False
    for disk in spec.disks:
        if disk not in disks:
            _clear_disk(work, disk)
    for nic in spec.nics:
        if nic not in nics:
            _clear_nic(work, nic)
            networks.unplug_card(work.host.config, nic)
    living.note_living(work.folder, disks=disks, nics=nics)
    return True


def replug_card(work: Work, mac: str) -> None:
    """Pull a card whose tap is gone, and plug it in again with a new one; the guest sees a cable that was pulled for a moment.

    Call it under the apply lock. Raises HardwareRefused where the machine has no ports, stands still or does not let go.
    """
    now = living.living(work.folder)
    [*found] = [nic for nic in now.spec.nics if nic.mac == mac] if now is not None else []
    if now is None or not found:
        return
    [nic] = found
    if not now.ports or nic.model is not NicModel.VIRTIO:
        raise HardwareRefused(f"the card {mac} can only be plugged in anew when the machine is started again")
    if run_state(work.folder.qmp_socket, work.host.monitors) != "running":
        raise HardwareRefused("a machine that stands still lets go of no card")
    _pull(work, nic_device_id(nic))
    _clear_nic(work, nic)
    _plug_nic(work, nic)


def _plug_disk(work: Work, disk: DiskSpec) -> None:
    device = disk_device_id(disk)
    if device in _devices(work) and _property(work, device, "serial") != disk_serial(disk):
        _pull(work, device)  # another disk, of a wish that was overtaken
    if device not in _devices(work):
        _clear_disk(work, disk)
        file, image = disk_nodes(disk, choices_for(work.host, work.spec, work.folder, ()))
        try:
            _execute(
                work,
                ("blockdev-add", file),
                ("blockdev-add", image),
                ("device_add", disk_device(disk)),
            )
        except MonitorError as exc:
            _clear_disk(work, disk)
            raise HardwareRefused(exc.detail) from exc
    reached("disk plugged")
    # Noted without its limits, which it has not yet: a worker that is killed here sets them when it comes back.
    spec = _with_disk(work, disk.model_copy(update={"iops": None, "mib_per_second": None}))
    set_boot_order(work, boot_order(spec))
    living.note_living(work.folder, disks=spec.disks)
    limit_disk(work, disk)
    living.note_living(work.folder, disks=_with_disk(work, disk).disks)


def _with_disk(work: Work, disk: DiskSpec) -> MachineSpec:
    spec = _living(work)
    disks = sorted((*(each for each in spec.disks if each.id != disk.id), disk), key=lambda each: each.slot)
    return spec.model_copy(update={"disks": tuple(disks)})


def _pull_disk(work: Work, disk: DiskSpec) -> None:
    _pull(work, disk_device_id(disk))
    reached("disk pulled")
    _clear_disk(work, disk)
    living.note_living(work.folder, disks=tuple(d for d in _living(work).disks if d.id != disk.id))


def _clear_disk(work: Work, disk: DiskSpec) -> None:
    """Take away what stands behind a disk's device, which itself is not there."""
    name = disk_node(disk)
    _quietly(work, "blockdev-del", {"node-name": name})
    _quietly(work, "blockdev-del", {"node-name": f"{name}-file"})


def _plug_nic(work: Work, nic: NicSpec) -> None:
    device = nic_device_id(nic)
    if device in _devices(work) and _property(work, device, "mac") != nic.mac:
        _pull(work, device)
    spec = _living(work)
    nics = sorted((*(each for each in spec.nics if each.mac != nic.mac), nic), key=lambda each: each.slot)
    spec = spec.model_copy(update={"nics": tuple(nics)})
    if device not in _devices(work):
        _clear_nic(work, nic)
        try:
            networks.plug(work.host.config, spec)
            tap = networks.open_card(nic)
            try:
                reached("card wired")
                name = nic_node(nic)
                _execute(
                    work,
                    ("netdev_add", nic_cable(nic, name)),
                    ("device_add", nic_device(nic)),
                    fds={name: tap},
                )
            finally:
                os.close(tap)
        except OffshootError as exc:
            _clear_nic(work, nic)
            networks.unplug_card(work.host.config, nic)
            if isinstance(exc, MonitorError):
                raise HardwareRefused(exc.detail) from exc
            raise
    reached("card plugged")
    # Plugged by a worker that was killed, it has the limits of then.
    shaping.limit_card(tap_name(nic), mbit_in=nic.mbit_in, mbit_out=nic.mbit_out)
    living.note_living(work.folder, nics=spec.nics)


def _pull_nic(work: Work, nic: NicSpec) -> None:
    _pull(work, nic_device_id(nic))
    reached("card pulled")
    _clear_nic(work, nic)
    networks.unplug_card(work.host.config, nic)
    living.note_living(work.folder, nics=tuple(n for n in _living(work).nics if n.mac != nic.mac))


def _clear_nic(work: Work, nic: NicSpec) -> None:
    """Take away a card's cable, whose device is not there, and a tap that was handed over and never used."""
    _quietly(work, "netdev_del", {"id": nic_node(nic)})
    _quietly(work, "closefd", {"fdname": nic_node(nic)})


def _pull(work: Work, device: str) -> None:
    """Ask the guest to let go of a device, and wait until it has. Raises HardwareRefused."""
    begun = time.monotonic()
    asked = -_ASK_AGAIN_SECONDS
    while device in _devices(work):
        waited = time.monotonic() - begun
        if waited > UNPLUG_SECONDS:
            raise HardwareRefused(f"the system did not let go of {device} within {UNPLUG_SECONDS:.0f} s")
        work.end_early()
        if waited - asked >= _ASK_AGAIN_SECONDS:
            asked = waited
            # Refused while an earlier question is open; a system that was still starting has to be asked again.
            _quietly(work, "device_del", {"id": device})
        time.sleep(0.05)


def _remove_left(work: Work) -> None:
    """The files of disks that are neither wanted nor plugged in."""
    keep = wanted_disks(work.spec)
    now = living.living(work.folder) if processes.runs(work.folder) else None
    if now is not None:
        keep |= wanted_disks(now.spec)
    files = left_disks(work.host.disk_folders(work.spec.machine_id), keep)
    for disk_id in files.keys() | (made_disks(work.folder).keys() - keep):
        for path in files.get(disk_id, ()):
            path.unlink(missing_ok=True)
        reached("disk removed")
        forget_disk(work.folder, disk_id)


def _living(work: Work) -> MachineSpec:
    now = living.living(work.folder)
    if now is None:
        raise HardwareRefused("what the machine has is not known")
    return now.spec


def _devices(work: Work) -> set[str]:
    """The devices of the living machine that have a name of ours."""
    [entries] = _execute(work, ("qom-list", {"path": "/machine/peripheral"}))
    return {entry["name"] for entry in entries}


def _property(work: Work, device: str, name: str) -> object:
    [value] = _execute(work, ("qom-get", {"path": f"/machine/peripheral/{device}", "property": name}))
    return value


def _execute(
    work: Work, *commands: tuple[str, dict[str, Any]], fds: dict[str, int] | None = None
) -> list[Any]:
    return work.host.monitors.execute(work.folder.qmp_socket, *commands, fds=fds)


def _quietly(work: Work, command: str, arguments: dict[str, Any]) -> None:
    try:
        _execute(work, (command, arguments))
    except MonitorError:
        if not processes.runs(work.folder):
            raise
