"""Machines that stand still because the host's disk was full go on by themselves when there is room again."""

from __future__ import annotations

import structlog

from workers.contract.errors import MessageError, OffshootError
from workers.contract.messages import PauseReason
from workers.contract.spec import MachineSpec, Power
from workers.contract.version import from_wire
from workers.host import course, processes, wishes
from workers.host.locks import locked_at_once
from workers.host.memory import KEPT_FREE_MIB, room_mib
from workers.host.monitor import run_state
from workers.plan.names import MachineFolder
from workers.this_host import Host

log = structlog.get_logger()


def go_on_where_room_came(host: Host) -> None:
    """Look at every machine; one that something is being done with is left for the next time. Reads files only, mostly."""
    for path in host.config.state.machines.glob("*/"):
        folder = MachineFolder(path)
        try:
            if course.of(folder).paused_for is PauseReason.NO_SPACE:
                _go_on(host, folder)
        except (OffshootError, OSError):
            log.exception("not gone on", folder=str(path))


def _go_on(host: Host, folder: MachineFolder) -> None:
    with locked_at_once(folder.apply_lock) as is_mine:
        if not is_mine or not processes.runs(folder):
            return
        wish = wishes.newest_wish(folder)
        if wish is None or wish.spec.power is not Power.RUNNING or not _has_room(host, folder):
            return
        if run_state(folder.qmp_socket, host.monitors) == "io-error":
            log.info("goes on, there is room again", machine=str(wish.spec.machine_id))
            host.monitors.execute(folder.qmp_socket, ("cont", {}))


def _has_room(host: Host, folder: MachineFolder) -> bool:
    """Wherever one of its disks lies there is more than a little."""
    try:
        spec = from_wire(MachineSpec, processes.launched(folder).get("spec"))
    except MessageError:
        return False
    places = {host.disk_file(spec.machine_id, disk).parent for disk in spec.disks}
    return all(room_mib(place) >= KEPT_FREE_MIB for place in places)
