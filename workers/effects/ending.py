"""Ending a machine: asked, cut off, or removed with every trace."""

from __future__ import annotations

import time

from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.messages import EndReason
from workers.effects.guest import its_agent_shuts_it_down
from workers.effects.work import Work
from workers.host import networks, pools, processes, saved
from workers.host.files import write_json
from workers.host.monitor import MonitorError
from workers.observation import settle_ended


class GuestIgnored(OffshootError):
    """The guest was asked to shut down and did not."""

    code = ErrorCode.GUEST_IGNORED_SHUTDOWN


def ask_guest(work: Work) -> None:
    """Ask the guest's agent where one answers, press the power button (ACPI), and wait; a newer wish ends the waiting."""
    write_json(work.folder.intent_file, {"generation": work.spec.generation})
    agreed = its_agent_shuts_it_down(work)
    try:
        work.host.monitors.execute(work.folder.qmp_socket, ("system_powerdown", {}))
    except MonitorError:
        if processes.runs(work.folder) and not agreed:  # one that agreed may be ending already
            raise
    begun, most = time.monotonic(), work.host.config.ask_seconds
    while processes.runs(work.folder):
        waited = time.monotonic() - begun
        work.end_early()
        if waited > most:
            work.folder.intent_file.unlink(missing_ok=True)
            raise GuestIgnored(f"it was still running after {most:.0f} s")
        work.tell(int(100 * waited / most))
        time.sleep(0.1)
    settle_ended(work.host, work.folder, work.spec.machine_id, EndReason.PERSON)


def stop(work: Work) -> None:
    """Pull the plug. Memory that a killed worker left saved beside the living machine goes too."""
    saved.discard(work.folder)
    write_json(work.folder.intent_file, {"generation": work.spec.generation})
    processes.kill(work.folder, work.spec.machine_id, work.host.monitors)
    settle_ended(work.host, work.folder, work.spec.machine_id, EndReason.PERSON)


def remove(work: Work) -> None:
    """Cables, rules and what lies in pools go here; its own folder goes last, when the operation has ended well."""
    networks.unplug(work.host.config, work.spec.machine_id)
    pools.remove_machine(work.host.config, work.spec.machine_id)
