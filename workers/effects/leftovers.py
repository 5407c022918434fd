"""What a worker that was killed has left where nobody goes on with it: of a backup or an export that the person has cancelled,
and the hurry of a machine that it had just started.
"""

from __future__ import annotations

import shutil

import structlog

from workers.contract.errors import OffshootError
from workers.host import cgroups, living, processes, wishes
from workers.host.blocks import Blocks
from workers.host.locks import LockBusy, locked_within
from workers.plan.names import MachineFolder
from workers.this_host import Host

log = structlog.get_logger()


def clear_leftovers(host: Host) -> None:
    """Look at every machine once, when the worker starts. One that is busy clears its own leftovers."""
    for path in sorted(host.config.state.machines.glob("*/")):
        folder = MachineFolder(path)
        try:
            with locked_within(folder.apply_lock, seconds=30, between=lambda: None):
                _clear(host, folder)
        except LockBusy:
            continue
        except (OffshootError, OSError) as exc:
            log.warning("leftovers stay for now", folder=str(path), error=str(exc))


def _clear(host: Host, folder: MachineFolder) -> None:
    if processes.runs(folder) and (now := living.living(folder)) is not None:
        cgroups.hurry_no_more(now.spec.machine_id, now.spec.cpu_weight)
    wish = wishes.newest_wish(folder)
    act = wish.act.kind if wish is not None and wish.act is not None else ""
    if act != "export_machine":
        shutil.rmtree(folder.export, ignore_errors=True)
    if wish is None or act == "take_backup":
        return
    if processes.runs(folder):
        Blocks(host.monitors, folder.qmp_socket).clear()
    for place, root in host.config.backup_places.items():
        if not root.is_dir():
            continue
        store = host.backup_store(place, wish.spec.machine_id)
        if store.folder.exists() and any(store.folder.glob("*.part")):
            with store.deleting():
                store.clear_unfinished()
