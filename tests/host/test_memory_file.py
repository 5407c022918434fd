"""A machine's memory as a file, with a guest of eight bytes: it writes to its serial port, and nothing else, for ever."""

from __future__ import annotations

import fcntl
import subprocess
import termios
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM
from socket import socket as Connection

from tests.lab.waiting import wait_for
from workers.host import memory
from workers.host.monitor import MonitorLoop
from workers.plan.qemu import SERIAL_CHARDEV

# mov dx, 3F8h; mov al, 'x'; again: out dx, al; jmp again
SPEAKS_FOR_EVER = bytes.fromhex("BAF803B078EEEBFD").ljust(510, b"\0") + b"\x55\xaa"


def test_a_machine_that_was_saved_in_the_middle_of_a_word_speaks_on_when_it_is_woken(folder: Path) -> None:
    (folder / "guest").write_bytes(SPEAKS_FOR_EVER.ljust(1 << 20, b"\0"))
    file, monitors = folder / "memory", MonitorLoop()
    with closing(monitors.loop), closing(monitors):
        with _qemu(folder / "first") as place, closing(_listener(place)) as nobody:
            nobody.settimeout(30)
            assert nobody.recv(1) == b"x"
            wait_for("nobody reads on: its words pile up", _Unread(nobody).is_full, seconds=30)
            monitors.execute(place / "qmp", ("stop", {}))
            memory.write(place / "qmp", monitors, file, tell=lambda _: None, end_early=lambda: None)
        with _qemu(folder / "second", *memory.WAITING) as place, ThreadPoolExecutor(1) as beside:
            waited: list[None] = []
            woken = beside.submit(
                memory.read, place / "qmp", monitors, file, end_early=lambda: waited.append(None)
            )
            wait_for("it waits for somebody who listens", lambda: waited or woken.done(), seconds=30)
            with closing(_listener(place)) as listener:
                listener.settimeout(30)
                woken.result(60)
                monitors.execute(place / "qmp", ("cont", {}))
                assert listener.recv(1) == b"x"


class _Unread:
    """What piles up at a connection that nobody reads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._seen: list[int] = []

    def is_full(self) -> bool:
        """No more has come in the last looks."""
        found = bytearray(4)
        fcntl.ioctl(self._connection, termios.FIONREAD, found)
        self._seen = [*self._seen[-19:], int.from_bytes(found, "little")]
        return len(self._seen) == 20 and len(set(self._seen)) == 1


def _listener(place: Path) -> Connection:
    connection = Connection(AF_UNIX, SOCK_STREAM)
    connection.connect(str(place / "serial"))
    return connection


@contextmanager
def _qemu(place: Path, *more: str) -> Iterator[Path]:
    """A machine that starts from that guest; its monitor and its serial port in a folder."""
    place.mkdir()
    argv = (
        *("qemu-system-x86_64", "-nodefaults", "-machine", "q35", "-accel", "tcg", "-m", "64", "-display", "none"),
        *("-chardev", f"socket,id=qmp,path={place / 'qmp'},server=on,wait=off", "-mon", "qmp,mode=control"),
        *("-chardev", f"socket,id={SERIAL_CHARDEV},path={place / 'serial'},server=on,wait=off"),
        *("-device", f"isa-serial,chardev={SERIAL_CHARDEV}"),
        *("-drive", f"if=virtio,format=raw,read-only=on,file={place.parent / 'guest'}"),
        *more,
    )  # fmt: skip
    process = subprocess.Popen(argv)
    try:
        wait_for("qemu is up", (place / "serial").exists, seconds=30)
        yield place
    finally:
        process.kill()
        process.wait(10)
