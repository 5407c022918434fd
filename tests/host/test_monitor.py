"""A machine's monitor: whoever listens hears its end, however early it comes, and nobody keeps it from the others."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from qemu.qmp import QMPClient, QMPError, Runstate

from tests.lab.folder import short_folder
from tests.lab.waiting import wait_for
from workers.host.monitor import MonitorError, MonitorLoop, events_until_the_end

STATUS: tuple[str, dict[str, object]] = ("query-status", {})


def test_a_machine_that_dies_before_anybody_waits_for_its_events_has_ended_all_the_same() -> None:
    with _qemu() as (path, qemu):
        assert asyncio.run(_events_heard_after_it_died(str(path), qemu)) == []


async def _events_heard_after_it_died(socket: str, qemu: subprocess.Popen[bytes]) -> list[object]:
    client = QMPClient("events")
    await client.connect(socket)
    qemu.kill()
    while client.runstate is Runstate.RUNNING:
        await client.runstate_changed()
    try:
        async with asyncio.timeout(10):
            return [event async for event in events_until_the_end(client)]
    finally:
        try:
            await client.disconnect()
        except (QMPError, OSError, EOFError):
            pass


def test_a_call_that_takes_too_long_has_let_the_monitor_go_when_it_fails() -> None:
    with _qemu() as (path, _), _monitors() as monitors:
        before = _sockets()
        for _ in range(3):
            with pytest.raises(MonitorError, match="no answer within"):
                monitors.execute(path, *[("query-qmp-schema", {})] * 20_000, seconds=0.3)
            assert _sockets() == before
            assert monitors.execute(path, STATUS)


def test_a_qemu_that_hangs_fails_each_call_in_its_time_and_serves_again_when_it_goes_on() -> None:
    with _qemu() as (path, qemu), _monitors() as monitors:
        assert monitors.execute(
            path, STATUS, seconds=60
        )  # it is up, so it is not in the middle of its start that it stops
        before = _sockets()
        qemu.send_signal(signal.SIGSTOP)
        for _ in range(4):  # more than its queue has room for
            with pytest.raises(MonitorError, match="no answer within"):
                monitors.execute(path, STATUS, seconds=0.3)
            assert _sockets() == before
        qemu.send_signal(signal.SIGCONT)
        assert monitors.execute(path, STATUS, seconds=60)


def test_more_than_its_queue_has_room_for_wait_for_a_monitor_and_are_all_served() -> None:
    with _qemu() as (path, _), _monitors() as monitors, ThreadPoolExecutor(8) as pool:
        with closing(socket.socket(socket.AF_UNIX)) as holder:
            holder.connect(str(path))
            assert holder.recv(1)
            calls = [pool.submit(monitors.execute, path, STATUS, seconds=60) for _ in range(8)]
            with pytest.raises(TimeoutError):
                calls[-1].result(1)  # so long it is another's
        assert all(call.result(60) for call in calls)


def test_closing_ends_the_calls_that_are_open_and_leaves_nothing_behind() -> None:
    with _qemu() as (path, qemu), _monitors() as monitors, ThreadPoolExecutor(2) as pool:
        before = _sockets()
        qemu.send_signal(signal.SIGSTOP)
        calls = [pool.submit(monitors.execute, path, STATUS, seconds=60) for _ in range(2)]
        wait_for("they wait for it", lambda: _sockets() == before + 2)
        monitors.close()
        for call in calls:
            with pytest.raises(MonitorError):
                call.result(5)
        assert _sockets() == before
        assert not asyncio.all_tasks(monitors.loop)
        with pytest.raises(MonitorError):
            monitors.execute(path, STATUS)
        gc.collect()  # what was destroyed while it waited, or never awaited, is told of here, and is an error


@contextmanager
def _monitors() -> Iterator[MonitorLoop]:
    monitors = MonitorLoop()
    try:
        yield monitors
    finally:
        monitors.close()
        monitors.loop.close()


def _sockets() -> int:
    """How many this process has open."""
    with os.scandir("/proc/self/fd") as found:
        return sum(_target(each.path).startswith("socket:") for each in found)


def _target(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except FileNotFoundError:
        return ""  # the folder's own


@contextmanager
def _qemu() -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A qemu without a machine, and the socket of its monitor."""
    with short_folder() as folder, closing(socket.socket(socket.AF_UNIX)) as listener:
        path = folder / "qmp.sock"
        listener.bind(str(path))
        listener.listen(1)  # as qemu itself does; handed over, it takes connections from the first moment
        number = listener.fileno()
        qemu = subprocess.Popen(
            (
                "qemu-system-x86_64", "-nodefaults", "-display", "none", "-S", "-M", "none",
                "-chardev", f"socket,id=monitor,fd={number},server=on,wait=off", "-mon", "monitor,mode=control",
            ),
            pass_fds=(number,),
        )  # fmt: skip
        try:
            yield path, qemu
        finally:
            qemu.kill()
            qemu.wait()
