"""A machine's monitor: whoever listens hears its end, however early it comes."""

from __future__ import annotations

import asyncio
import subprocess

from qemu.qmp import QMPClient, QMPError, Runstate

from tests.lab.folder import short_folder
from tests.lab.waiting import wait_for
from workers.host.monitor import events_until_the_end


def test_a_machine_that_dies_before_anybody_waits_for_its_events_has_ended_all_the_same() -> None:
    with short_folder() as folder:
        socket = folder / "qmp.sock"
        command = ("qemu-system-x86_64", "-nodefaults", "-display", "none", "-S", "-M", "none")
        qemu = subprocess.Popen((*command, "-qmp", f"unix:{socket},server=on,wait=off"))
        try:
            wait_for("its monitor", socket.exists)
            assert asyncio.run(_events_heard_after_it_died(str(socket), qemu)) == []
        finally:
            qemu.kill()
            qemu.wait()


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
