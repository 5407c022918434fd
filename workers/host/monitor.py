"""Talking to a running qemu over its monitor, from any thread; all sockets live on one event loop.

The library is qemu's own (qemu.qmp). Errors are named after the phase that failed.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from qemu.qmp import ConnectError, ExecuteError, QMPClient, QMPError, Runstate

from workers.contract.errors import ErrorCode, OffshootError

T = TypeVar("T")
ANSWER_SECONDS = 10.0
_CONNECT_TRIES = 5
_DROPPED = "Failed to establish session"
"""The library's words where qemu took the connection and then let go of it."""
_CONNECT_PAUSE_SECONDS = 0.05


class MonitorError(OffshootError):
    """qemu's monitor could not be reached, or refused a command (the detail has its words)."""

    code = ErrorCode.MONITOR_FAILED


class MonitorLoop:
    """The event loop on which every monitor of this process lives, in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="monitors", daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T], *, seconds: float = ANSWER_SECONDS) -> T:
        """Run a coroutine there and wait for its result. Raises MonitorError when it takes too long."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result(seconds)
        except TimeoutError as exc:
            future.cancel()
            raise MonitorError(f"no answer within {seconds:.0f} s") from exc

    def execute(
        self,
        socket: Path,
        *commands: tuple[str, dict[str, Any]],
        fds: Mapping[str, int] | None = None,
        fdsets: Mapping[int, int] | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> list[Any]:
        """Connect, run the commands one after another, disconnect; their return values.

        `fds` are open files that qemu is handed before, by the names under which the commands speak of them (QMP getfd);
        `fdsets` those that it opens itself as /dev/fdset/<number> (QMP add-fd).
        """
        return self.call(_execute(socket, commands, fds or {}, fdsets or {}), seconds=seconds)

    def close(self) -> None:
        """Stop the loop; open monitors end with it."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)


async def events_until_the_end(client: QMPClient) -> AsyncIterator[Mapping[str, Any]]:
    """The events of a connection, the last ones too, until it ends, also where it had ended before anybody waited.

    The library's own iterator never ends with its connection.
    """
    ended = asyncio.create_task(_end_of(client))
    try:
        while True:
            arrived = asyncio.create_task(client.events.get())
            await asyncio.wait((arrived, ended), return_when=asyncio.FIRST_COMPLETED)
            if arrived.done():
                yield arrived.result()
                continue
            arrived.cancel()
            while not client.events.empty():
                yield await client.events.get()
            return
    finally:
        ended.cancel()


async def _end_of(client: QMPClient) -> None:
    while client.runstate is Runstate.RUNNING:  # a change that came before the wait is never told
        await client.runstate_changed()


async def _execute(
    socket: Path,
    commands: tuple[tuple[str, dict[str, Any]], ...],
    fds: Mapping[str, int],
    fdsets: Mapping[int, int],
) -> list[Any]:
    client = await _connected(socket)
    try:
        for name, descriptor in fds.items():
            client.send_fd_scm(descriptor)
            await client.execute("getfd", {"fdname": name})
        for number, descriptor in fdsets.items():
            client.send_fd_scm(descriptor)
            await client.execute("add-fd", {"fdset-id": number})
        answers: list[Any] = []
        for name, arguments in commands:
            answers.append(await client.execute(name, arguments or None))
        return answers
    except ExecuteError as exc:
        raise MonitorError(f"{exc.error_class}: {exc}") from exc
    except QMPError as exc:
        raise MonitorError(str(exc)) from exc
    finally:
        await _disconnect(client)


async def _connected(socket: Path) -> QMPClient:
    """A client that may give commands.

    Now and then qemu drops one that comes just as another goes, before it was told anything: that is tried again.
    """
    for tries_left in reversed(range(_CONNECT_TRIES)):
        client = QMPClient("offshoot")
        try:
            await client.connect(str(socket))
            return client
        except (QMPError, OSError) as exc:
            is_dropped = isinstance(exc, ConnectError) and exc.error_message == _DROPPED
            if not is_dropped or not tries_left:
                raise MonitorError(f"cannot connect: {exc}") from exc
        await asyncio.sleep(_CONNECT_PAUSE_SECONDS)
    raise MonitorError("cannot connect")


async def _disconnect(client: QMPClient) -> None:
    try:
        await client.disconnect()
    except (QMPError, OSError, EOFError):
        pass  # qemu ended first, as after "quit"
