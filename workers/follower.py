"""What a machine's events say of its present run: that it stands still and why, that it goes on, that its guest restarted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import structlog
from qemu.qmp import QMPClient

from workers.contract.messages import PauseReason
from workers.host import course
from workers.host.memory import KEPT_FREE_MIB, room_mib
from workers.observation import observe
from workers.plan.names import MachineFolder
from workers.this_host import Host

_RESET_SECONDS = 0.2
"""A guest that restarts itself in a loop is told of so often at most."""

_FIRMWARE_SECONDS = 1.0
"""After each reset the firmware makes one more (SeaBIOS, resume.c: handle_resume) some 50 ms later, or more where a host is busy.

qemu calls that the guest's too. No system restarts itself so soon after its start.
"""

_REASONS: dict[str, PauseReason | None] = {
    "running": None,
    "paused": PauseReason.PERSON,
    "guest-panicked": PauseReason.PANIC,
    "internal-error": PauseReason.PANIC,
    "io-error": PauseReason.IO_ERROR,
}
"""What the states of qemu mean (QMP RunState); the others pass by themselves."""
log = structlog.get_logger()


class Follower:
    """Follows one machine's events. It asks for the state itself where one says that it changed: an event may be late."""

    def __init__(self, host: Host, machine_id: UUID, folder: MachineFolder) -> None:
        self._host = host
        self._machine_id = machine_id
        self._folder = folder
        self._no_space: bool | None = None
        """Whether the last error of a disk was that the host's was full; None where none was heard."""
        self._told_reset = -_RESET_SECONDS
        self._began_at = -_FIRMWARE_SECONDS
        """When it was reset last, whoever did it, by qemu's clock."""
        self._resets = 0
        self._telling: asyncio.Task[None] | None = None

    async def begin(self, client: QMPClient) -> None:
        """What it does now, and did while nobody listened."""
        await self._look(client)

    async def take(self, client: QMPClient, event: Mapping[str, Any]) -> None:
        """Note and tell what the event changes."""
        name, data = event["event"], event.get("data", {})
        if name == "BLOCK_IO_ERROR" and data.get("action") == "stop":
            self._no_space = bool(data.get("nospace"))
        elif name == "RESET":
            self._reset(_moment(event), by_guest=bool(data.get("guest")))
        elif name in ("STOP", "RESUME", "GUEST_PANICKED"):
            await self._look(client)

    async def _look(self, client: QMPClient) -> None:
        said: Any = await client.execute("query-status")
        if said["status"] not in _REASONS:
            return
        reason = _REASONS[said["status"]]
        if reason is PauseReason.IO_ERROR and await asyncio.to_thread(self._is_full):
            reason = PauseReason.NO_SPACE
        if reason is None:
            self._no_space = None
        await asyncio.to_thread(self._note, reason)

    def _reset(self, at: float, *, by_guest: bool) -> None:
        if by_guest and at - self._began_at < _FIRMWARE_SECONDS:
            return
        self._began_at = at
        if not by_guest:
            return
        self._resets += 1
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell_resets())

    async def _tell_resets(self) -> None:
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, self._told_reset + _RESET_SECONDS - now))
        self._told_reset = asyncio.get_running_loop().time()
        more, self._resets = self._resets, 0
        await asyncio.to_thread(self._note, course.of(self._folder).paused_for, more)

    def _is_full(self) -> bool:
        """The host's disk is what stopped it: qemu said so, or nobody heard and there is no room."""
        if self._no_space is not None:
            return self._no_space
        known = course.of(self._folder).paused_for
        if known in (PauseReason.NO_SPACE, PauseReason.IO_ERROR):
            return known is PauseReason.NO_SPACE
        return room_mib(self._folder.root) < KEPT_FREE_MIB

    def _note(self, reason: PauseReason | None, more_resets: int = 0) -> None:
        if course.note(self._folder, paused_for=reason, more_resets=more_resets):
            log.info("goes like this", machine=str(self._machine_id), paused_for=reason, resets=more_resets)
            self._host.report_observed(observe(self._host, self._machine_id, brief=True))


def _moment(event: Mapping[str, Any]) -> float:
    """When qemu says that it was, in seconds since the epoch (QMP: every event's timestamp)."""
    said = event["timestamp"]
    return float(said["seconds"]) + float(said["microseconds"]) / 1e6
