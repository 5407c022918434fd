"""Listens to every running machine's events and serial port, so that an end shows on the page within a second."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import structlog
from qemu.qmp import ExecuteError, QMPClient, QMPError

from workers.contract.errors import OffshootError
from workers.contract.messages import EndReason
from workers.effects.devices import settle_pulled
from workers.effects.work import Work
from workers.follower import Follower
from workers.guests import Guests
from workers.host import course, living, processes, wishes
from workers.host.agent import chardev_is_open
from workers.host.locks import locked, wait_free
from workers.host.monitor import Client, events_until_the_end
from workers.observation import observe, settle_ended
from workers.plan.names import MachineFolder
from workers.plan.qemu import AGENT_DEVICE
from workers.this_host import Host

CONSOLE_LOG_BYTES = 1024 * 1024
"""The cap of console.log; one older part of the same size is kept beside it."""

log = structlog.get_logger()


class Watcher:
    """One task a machine for its events and one for its serial port, on the monitors' loop."""

    def __init__(self, host: Host, guests: Guests) -> None:
        self._host = host
        self._guests = guests
        self._watched: set[UUID] = set()
        self._clients: dict[UUID, QMPClient] = {}

    def clients(self) -> dict[UUID, QMPClient]:
        """The machines that are listened to, each with its connection; commands on it are given on the monitors' loop."""
        return self._clients.copy()

    def watch_all(self) -> None:
        """Find the machines that run already: qemu outlives the worker."""
        for path in self._host.config.state.machines.glob("*/"):
            wish = wishes.newest_wish(MachineFolder(path))
            if wish is not None and processes.runs(MachineFolder(path)):
                self.watch(wish.spec.machine_id)

    def watch(self, machine_id: UUID) -> None:
        """Begin to listen to a machine; may be called from any thread and more than once."""
        self._host.monitors.loop.call_soon_threadsafe(self._begin, machine_id)

    def _begin(self, machine_id: UUID) -> None:
        if machine_id in self._watched:
            return
        self._watched.add(machine_id)
        folder = self._host.folder(machine_id)
        self._host.monitors.begin(_copy_serial(folder.serial_socket, folder.console_log))
        self._host.monitors.begin(self._listen(machine_id, folder))

    async def _listen(self, machine_id: UUID, folder: MachineFolder) -> None:
        client = Client(f"events {machine_id}")
        reason = EndReason.CRASH
        try:
            await client.connect(str(folder.events_socket))
            self._clients[machine_id] = client
            self._guests.port_changed(
                machine_id, is_open=chardev_is_open(await client.execute("query-chardev"))
            )
            follower = Follower(self._host, machine_id, folder)
            await follower.begin(client)
            with suppress(ExecuteError):  # it cannot say yet
                await self._memory(machine_id, folder, await client.execute("query-balloon"))
            async for event in events_until_the_end(client):
                await follower.take(client, event)
                if event["event"] == "SHUTDOWN":
                    by_guest = cast(dict[str, Any], event["data"])["guest"]
                    reason = EndReason.GUEST if by_guest else EndReason.PERSON
                if event["event"] == "VSERPORT_CHANGE":
                    port = cast(dict[str, Any], event["data"])
                    if port["id"] == AGENT_DEVICE:
                        self._guests.port_changed(machine_id, is_open=port["open"])
                if event["event"] == "DEVICE_DELETED":
                    self._host.monitors.begin(asyncio.to_thread(self._device_gone, machine_id, folder))
                if event["event"] == "BALLOON_CHANGE":
                    await self._memory(machine_id, folder, event["data"])
        except (QMPError, OSError, EOFError):
            pass  # the connection ends when qemu ends
        except Exception:
            log.exception("events", machine=str(machine_id))
        finally:
            self._clients.pop(machine_id, None)
            with suppress(Exception):
                await client.disconnect()
            self._watched.discard(machine_id)
            self._guests.forget(machine_id)
        await asyncio.to_thread(self._ended, machine_id, folder, reason)

    async def _memory(self, machine_id: UUID, folder: MachineFolder, said: object) -> None:
        """Note and tell what memory is left to the guest. qemu says it once a second at most, while it changes."""

        def note() -> None:
            if living.note_memory(folder, int(cast(dict[str, Any], said)["actual"])):
                self._host.report_observed(observe(self._host, machine_id, brief=True))

        with suppress(OSError):  # the disk may be full, or the machine on its way out: a later word counts
            await asyncio.to_thread(note)

    def _device_gone(self, machine_id: UUID, folder: MachineFolder) -> None:
        """Whoever asked for it has noted it when the lock is free; what nobody waited for is noted here."""
        wish = wishes.newest_wish(folder)
        if wish is None:
            return
        try:
            with locked(folder.apply_lock):
                pulled = processes.runs(folder) and settle_pulled(Work(self._host, wish, folder))
            if pulled:
                self._host.report_observed(observe(self._host, machine_id))
        except (
            OffshootError,
            OSError,
        ) as exc:  # it is ending, or its disk is full: its next start puts it right
            log.warning("device gone, not noted", machine=str(machine_id), error=str(exc))

    def _ended(self, machine_id: UUID, folder: MachineFolder, reason: EndReason) -> None:
        """The events are over: if qemu is too, note why and tell; if it still runs, listen again."""
        if not wait_free(folder.life_lock, seconds=5):
            self.watch(machine_id)
            return
        course.forget(folder)
        if not folder.root.exists():
            return
        with (
            suppress(FileNotFoundError),
            locked(folder.apply_lock),
        ):  # a delete may have removed all of it meanwhile
            settle_ended(self._host, folder, machine_id, reason)
        if not wishes.is_buried(self._host.config.state, machine_id):
            self._host.report_observed(observe(self._host, machine_id))


async def _copy_serial(socket: Path, path: Path) -> None:
    """Copy the serial port into the log until qemu ends; the log is cut at its cap."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(socket))
    except OSError:
        return
    try:
        while chunk := await reader.read(16 * 1024):
            if path.exists() and path.stat().st_size + len(chunk) > CONSOLE_LOG_BYTES:
                path.replace(path.with_suffix(".log.1"))
            with path.open("ab") as file:
                file.write(chunk)
    except OSError:
        pass  # the machine's folder went, or qemu did
    finally:
        writer.close()
