"""Looks at machines' screens for whoever sits before a page, on the connection over which their events come anyway."""

from __future__ import annotations

import asyncio
import base64
import os
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import structlog
from qemu.qmp import QMPClient, QMPError

from workers.contract.screens import MOST_PNG_BYTES, SCREEN_SECONDS, LookAtScreens, ScreenSeen, is_png
from workers.plan.pictures import small_png
from workers.this_host import Host

_ANSWER_SECONDS = 5.0
_AGAIN_SECONDS = SCREEN_SECONDS / 2
"""A host is not made to work by being asked more often than agreed."""

_MOST_PPM_BYTES = 64 * 1024 * 1024
log = structlog.get_logger()


class Screens:
    """Takes pictures. `clients`: the machines that are listened to, each with its connection."""

    def __init__(
        self,
        host: Host,
        clients: Callable[[], Mapping[UUID, QMPClient]],
        report: Callable[[ScreenSeen], None],
    ) -> None:
        self._host = host
        self._clients = clients
        self._report = report
        self._looked: dict[UUID, float] = {}

    def look(self, message: LookAtScreens) -> None:
        """Look at each of the machines that runs, one after another, and tell what was seen."""
        clients = self._clients()
        self._looked = {each: when for each, when in self._looked.items() if each in clients}
        for machine_id in message.machines:
            now = time.monotonic()
            client = clients.get(machine_id)
            if client is None or now - self._looked.get(machine_id, -_AGAIN_SECONDS) < _AGAIN_SECONDS:
                continue
            self._looked[machine_id] = now
            try:
                self._tell(machine_id, client)
            except Exception:
                log.exception("screen not seen", machine=str(machine_id))

    def _tell(self, machine_id: UUID, client: QMPClient) -> None:
        png = self._dumped(machine_id, client, "png", MOST_PNG_BYTES)
        if png is None:  # too large as it is
            ppm = self._dumped(machine_id, client, "ppm", _MOST_PPM_BYTES)
            png = small_png(ppm) if ppm is not None else None
        if png is None or not is_png(png):
            return
        self._report(
            ScreenSeen(
                host=self._host.config.name,
                machine_id=machine_id,
                at=int(time.time()),
                png=base64.b64encode(png).decode(),
            )
        )

    def _dumped(self, machine_id: UUID, client: QMPClient, kind: str, most: int) -> bytes | None:
        """What qemu writes into its own folder, the only one where it may; None where it does not, or it is too large."""
        path = self._host.folder(machine_id).run / f"screen.{kind}"
        dump = client.execute("screendump", {"filename": str(path), "format": kind})
        waiting = asyncio.run_coroutine_threadsafe(_within(dump), self._host.monitors.loop)
        try:
            waiting.result(_ANSWER_SECONDS + 1)
            return read_untrusted(path, most=most)
        except (QMPError, OSError, EOFError, TimeoutError) as exc:
            log.info("screen not seen", machine=str(machine_id), detail=str(exc))
            return None
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)


async def _within(dump: object) -> None:
    task: asyncio.Future[object] = asyncio.ensure_future(dump)  # type: ignore[call-overload]  # qemu.qmp's own type
    done, _ = await asyncio.wait([task], timeout=_ANSWER_SECONDS)
    if not done:
        raise TimeoutError(
            "qemu does not answer"
        )  # what it says later is nobody's; it is not cut off half-way
    task.result()


def read_untrusted(path: Path, *, most: int) -> bytes | None:
    """A file in a folder that belongs to qemu, which its guest may have taken over: no link, no pipe, at most so many bytes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > most:
            return None
        with os.fdopen(os.dup(descriptor), "rb") as file:
            data = file.read(most + 1)
        return data if len(data) <= most else None
    finally:
        os.close(descriptor)
