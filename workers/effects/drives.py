"""Changing the discs in the drives of a running machine."""

from __future__ import annotations

from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.spec import DiscSpec
from workers.effects.work import Work
from workers.host import library, processes
from workers.host.files import write_json
from workers.host.monitor import MonitorError
from workers.plan.names import MachineFolder
from workers.plan.qemu import DRIVE, SECOND_DRIVE, Drive, disc_blockdev


class NoDrive(OffshootError):
    """The running machine has no such drive: it was started without."""

    code = ErrorCode.HARDWARE_REFUSED


def change_disc(work: Work) -> None:
    """Put into each drive what is wanted in it, where it is not in it already. Raises NoDrive."""
    record = processes.launched(work.folder)
    for drive, key, disc in (
        (DRIVE, "disc", work.spec.disc),
        (SECOND_DRIVE, "second_disc", work.spec.second_disc),
    ):
        if record.get(key) != _id_of(disc):
            _change(work, drive, key, disc)


def _change(work: Work, drive: Drive, key: str, disc: DiscSpec | None) -> None:
    """Open the tray, even where the guest locked it, and put in what is wanted; the node goes with the medium."""
    device = {"id": drive.device}
    monitors, socket = work.host.monitors, work.folder.qmp_socket
    try:
        monitors.execute(
            socket,
            ("blockdev-open-tray", device | {"force": True}),
            ("blockdev-remove-medium", device),
        )
    except MonitorError as exc:
        if f"Device '{drive.device}' not found" in exc.detail:
            raise NoDrive(exc.detail) from exc
        raise
    _note_disc(work.folder, key, None)
    try:
        monitors.execute(socket, ("blockdev-del", {"node-name": drive.node}))
    except MonitorError:
        pass  # the drive was empty
    if disc is not None:
        path = library.cached(disc.image_id, work.host.config.state.images)
        monitors.execute(
            socket,
            ("blockdev-add", disc_blockdev(path, drive)),
            ("blockdev-insert-medium", device | {"node-name": drive.node}),
        )
    monitors.execute(socket, ("blockdev-close-tray", device))
    _note_disc(work.folder, key, disc)


def _note_disc(folder: MachineFolder, key: str, disc: DiscSpec | None) -> None:
    """What is in the drive now; noted at once, so that a change that fails half-way is not taken for a whole one."""
    write_json(folder.launched_file, processes.launched(folder) | {key: _id_of(disc)})


def _id_of(disc: DiscSpec | None) -> str | None:
    return str(disc.image_id) if disc else None
