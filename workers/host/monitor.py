"""Talking to a running qemu over its monitor, from any thread; all sockets live on one event loop.

The library is qemu's own (qemu.qmp). Errors are named after the phase that failed.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from socket import AF_UNIX, SHUT_RDWR, SOCK_STREAM
from socket import socket as Connection
from typing import Any, TypeVar

from qemu.qmp import ConnectError, ExecuteError, QMPClient, QMPError, Runstate
from qemu.qmp.message import Message as QMPMessage

from workers.contract.errors import ErrorCode, OffshootError

T = TypeVar("T")
ANSWER_SECONDS = 10.0
_CONNECT_TRIES = 5
_DROPPED = "Failed to establish session"
"""The library's words where qemu took the connection and then let go of it."""
_CONNECT_PAUSE_SECONDS = 0.05
_LETTING_GO_SECONDS = 5.0
"""What a call that was given up may take to close its connection; then nobody waits for it any more."""


class MonitorError(OffshootError):
    """qemu's monitor could not be reached, or refused a command (the detail has its words)."""

    code = ErrorCode.MONITOR_FAILED


class Client(QMPClient):
    """The library's client without its log: it would write out each message as indented JSON first, whoever listens."""

    def _cb_outbound(self, msg: QMPMessage) -> QMPMessage:
        return msg

    def _cb_inbound(self, msg: QMPMessage) -> QMPMessage:
        return msg


class MonitorLoop:
    """The event loop on which every monitor of this process lives, in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._own: set[asyncio.Task[Any]] = set()
        self._lock = threading.Lock()
        self._closing = False
        self._thread = threading.Thread(target=self.loop.run_forever, name="monitors", daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T], *, seconds: float = ANSWER_SECONDS) -> T:
        """Run a coroutine there and wait for its result. Raises MonitorError when it takes too long.

        What it had open is closed by then: qemu serves one client a monitor, and the next one may come at once.
        """
        with self._lock:
            if self._closing:
                coroutine.close()
                raise MonitorError("no longer spoken with")
            future = asyncio.run_coroutine_threadsafe(self._within(coroutine, seconds), self.loop)
        try:
            return future.result(seconds + _LETTING_GO_SECONDS)
        except TimeoutError as exc:
            future.cancel()
            raise MonitorError(f"no answer within {seconds:.0f} s") from exc
        except CancelledError as exc:
            raise MonitorError("no longer spoken with") from exc

    def begin(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Let a coroutine run until it ends or `close` cancels it. Call it on the loop itself."""
        task = self.loop.create_task(coroutine)
        self._own.add(task)
        task.add_done_callback(self._own.discard)
        return task

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
        """End what still runs, so that every monitor is let go of, and stop the loop."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            ending = asyncio.run_coroutine_threadsafe(self._end_all(), self.loop)
        with suppress(TimeoutError):
            ending.result(2 * _LETTING_GO_SECONDS)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)

    async def _within(self, coroutine: Coroutine[Any, Any, T], seconds: float) -> T:
        # A task of its own, so that one that is cancelled before its first step does not leave `coroutine` unawaited.
        task = self.begin(coroutine)
        try:
            async with asyncio.timeout(seconds):
                return await task
        except TimeoutError as exc:
            raise MonitorError(f"no answer within {seconds:.0f} s") from exc

    async def _end_all(self) -> None:
        await asyncio.sleep(0)  # what was handed over before has taken its first step then
        deadline = self.loop.time() + _LETTING_GO_SECONDS
        # First our own only: they let go of their connections, for which the library's tasks have to run on.
        while self._own and self.loop.time() < deadline:
            for task in self._own:
                task.cancel()
            await asyncio.wait(self._own, timeout=deadline - self.loop.time())
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for each in left:
            each.cancel()
        if left:
            await asyncio.wait(left, timeout=1)
        await self.loop.shutdown_asyncgens()


def run_state(socket: Path, monitors: MonitorLoop) -> str:
    """What qemu says that its machine does (QMP RunState: running, paused, io-error …). Raises MonitorError."""
    [said] = monitors.execute(socket, ("query-status", {}))
    return str(said["status"])


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
    client, connection = await _connected(socket)
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
    except asyncio.CancelledError:
        # The library would write out the rest first, to a qemu that perhaps reads no more.
        with suppress(OSError):
            connection.shutdown(SHUT_RDWR)
        raise
    finally:
        await _disconnect(client)


async def _connected(socket: Path) -> tuple[QMPClient, Connection]:
    """A client that may give commands, and what it is connected by.

    Now and then qemu drops one that comes just as another goes, before it was told anything: that is tried again.
    """
    for tries_left in reversed(range(_CONNECT_TRIES)):
        client, connection = Client("offshoot"), await _in_turn(socket)
        try:
            await client.connect(connection)
            return client, connection
        except (QMPError, OSError) as exc:
            is_dropped = isinstance(exc, ConnectError) and exc.error_message == _DROPPED
            if not is_dropped or not tries_left:
                raise MonitorError(f"cannot connect: {exc}") from exc
        finally:
            if client.runstate is not Runstate.RUNNING:
                connection.close()
        await asyncio.sleep(_CONNECT_PAUSE_SECONDS)
    raise MonitorError("cannot connect")


async def _in_turn(socket: Path) -> Connection:
    """A connection to qemu; where too many wait for theirs, as soon as there is room. Raises MonitorError.

    asyncio takes the kernel's "try again" (unix(7), EAGAIN: the queue is full) for a connection under way, and ends with one
    that leads nowhere.
    """
    while True:
        connection = Connection(AF_UNIX, SOCK_STREAM)
        connection.setblocking(False)
        try:
            connection.connect(str(socket))
            return connection
        except BlockingIOError:
            connection.close()
        except OSError as exc:
            connection.close()
            raise MonitorError(f"cannot connect: {exc}") from exc
        await asyncio.sleep(_CONNECT_PAUSE_SECONDS)


async def _disconnect(client: QMPClient) -> None:
    # Whatever it says: qemu ended first, as after "quit", or an answer came that nobody waits for (asyncio.QueueFull).
    with suppress(Exception):
        await client.disconnect()
