"""Changing the disc in the drive of a running machine."""

from __future__ import annotations

from workers.effects.work import Work
from workers.host import library, processes
from workers.host.files import write_json
from workers.host.monitor import MonitorError
from workers.plan.names import MachineFolder
from workers.plan.qemu import disc_blockdev


def change_disc(work: Work) -> None:
    """Open the tray, even where the guest locked it, and put in what is wanted; the node goes with the medium."""
    drive = {"id": "disc-drive"}
    work.host.monitors.execute(
        work.folder.qmp_socket,
        ("blockdev-open-tray", drive | {"force": True}),
        ("blockdev-remove-medium", drive),
    )
    _note_disc(work.folder, None)
    try:
        work.host.monitors.execute(work.folder.qmp_socket, ("blockdev-del", {"node-name": "disc"}))
    except MonitorError:
        pass  # the drive was empty
    if work.spec.disc is not None:
        path = library.cached(work.spec.disc.image_id, work.host.config.state.images)
        work.host.monitors.execute(
            work.folder.qmp_socket,
            ("blockdev-add", disc_blockdev(path)),
            ("blockdev-insert-medium", drive | {"node-name": "disc"}),
        )
    work.host.monitors.execute(work.folder.qmp_socket, ("blockdev-close-tray", drive))
    _note_disc(work.folder, str(work.spec.disc.image_id) if work.spec.disc else None)


def _note_disc(folder: MachineFolder, disc: str | None) -> None:
    """What is in the drive now; noted at once, so that a change that fails half-way is not taken for a whole one."""
    write_json(folder.launched_file, processes.launched(folder) | {"disc": disc})
