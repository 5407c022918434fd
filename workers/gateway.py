"""The console gateway of a host: websockify between the portal and the machines' screens. `python -m workers.gateway`.

Started as root it reads the fleet's key, binds its socket, and becomes the machines' unprivileged account before it
accepts anybody. Who may see which machine is the portal's to say: a signed token of at most 30 s names the machine.
"""

from __future__ import annotations

import ctypes
import logging
import os
import select
import shutil
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from websockify.websocketproxy import ProxyRequestHandler, WebSocketProxy

from workers.config import HostConfig, host_config
from workers.contract.errors import OffshootError
from workers.contract.tokens import Purpose, TokenError, subject_of
from workers.plan.names import StateFolder

TOKEN_SECONDS = 30
_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG = 1, 2  # prctl(2)
_libc = ctypes.CDLL(None, use_errno=True)


class ScreenTokens:
    """websockify's token plugin: a token of the portal becomes the path of a machine's screen."""

    def __init__(self, state: StateFolder, fleet_key: str) -> None:
        self._state = state
        self._key = fleet_key

    def lookup(self, token: str) -> tuple[str, str] | None:
        """Where to connect to, None where the token is not good."""
        try:
            subject = subject_of(token, key=self._key, purpose=Purpose.CONSOLE, seconds=TOKEN_SECONDS)
            # A UUID and nothing else, so that no subject is ever a path.
            folder = self._state.machine(UUID(subject))
        except (TokenError, ValueError):
            return None
        return ("unix_socket", str(folder.vnc_socket))


class ScreenHandler(ProxyRequestHandler):  # type: ignore[misc]  # websockify is untyped
    """One connection. The token comes in a header, since addresses get logged."""

    def get_target(self, target_plugin: ScreenTokens) -> tuple[str, str]:
        """The screen that the request's token names."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        target = target_plugin.lookup(token) if scheme == "Bearer" else None
        if target is None:
            raise self.server.EClose("no good token")
        return target

    def do_proxy(self, target: socket.socket) -> None:
        """Relay both ways. Nothing more is read from a side while the other has not taken what was read before.

        websockify's own loop reads on and keeps what cannot be written in memory, without a limit.
        """
        to_client: list[bytes] = []
        half_sent: Any = False
        to_target = b""
        while True:
            reading = [] if to_client or half_sent else [target]
            reading += [] if to_target else [self.request]
            writing = [self.request] if to_client or half_sent else []
            writing += [target] if to_target else []
            ready, free, _ = select.select(reading, writing, [], 30)
            if self.request in free:
                half_sent = self.send_frames(to_client)
                to_client = []
            if target in free:
                to_target = to_target[target.send(to_target) :]
            if self.request in ready:
                frames, closed = self.recv_frames()
                to_target += b"".join(frames)
                if closed:
                    raise self.CClose(closed["code"], closed["reason"])
            if target in ready:
                chunk = target.recv(self.buffer_size)
                if not chunk:
                    raise self.CClose(1000, "the machine ended")
                to_client.append(chunk)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: what is worth knowing stands in the portal's log."""


class Gateway(WebSocketProxy):  # type: ignore[misc]  # websockify is untyped
    """The listening process; each connection has a child of its own (websockify)."""

    def __init__(self, config: HostConfig, group: str) -> None:
        address = _address(config.gateway)
        where: dict[str, Any] = (
            {"unix_listen": str(address), "unix_listen_mode": 0o660}
            if isinstance(address, Path)
            else {"listen_host": address[0], "listen_port": address[1]}
        )
        super().__init__(
            ScreenHandler, file_only=True, token_plugin=ScreenTokens(config.state, config.fleet_key), **where
        )
        self._config = config
        self._group = group

    def started(self) -> None:
        """The socket is bound: hand it to the portal's group, then give up root for good."""
        if self.unix_listen and self._group:
            shutil.chown(self.unix_listen, group=self._group)
        if os.geteuid() == 0:
            end_with_parent = _parent_death_signal()
            os.setgroups([])
            os.setgid(self._config.gid)
            os.setuid(self._config.uid)
            # prctl(2): a change of the account clears it, and the gateway would outlive a launcher that was killed.
            _libc.prctl(_PR_SET_PDEATHSIG, end_with_parent)


def _parent_death_signal() -> int:
    """The signal that comes at the parent's end, as whoever started this process chose; 0 for none."""
    number = ctypes.c_int()
    _libc.prctl(_PR_GET_PDEATHSIG, ctypes.byref(number))
    return number.value


def _address(gateway: str) -> Path | tuple[str, int]:
    """`unix:/path`, or `ws://address:port` on a network between portal and hosts. Raises OffshootError."""
    if gateway.startswith("unix:/"):
        return Path(gateway.removeprefix("unix:"))
    parts = urlsplit(gateway)
    if parts.scheme == "ws" and parts.hostname and parts.port:
        return (parts.hostname, parts.port)
    raise OffshootError(f"OFFSHOOT_GATEWAY {gateway!r} must be unix:/path or ws://address:port")


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def main() -> None:
    """Serve until SIGTERM. One line and status 1 where a setting does not fit."""
    # A child that was forked for a connection ends at SIGTERM too, until websockify sets its own handler.
    signal.signal(signal.SIGTERM, _end)
    logging.getLogger("websockify").setLevel(logging.CRITICAL)
    try:
        config = host_config()
        gateway = Gateway(config, os.environ.get("OFFSHOOT_GATEWAY_GROUP", ""))
        gateway.start_server()
    except (OffshootError, LookupError, OSError) as exc:
        print(f"offshoot: the gateway cannot start: {exc}", file=sys.stderr)  # noqa: T201  its one line
        raise SystemExit(1) from exc


if __name__ == "__main__":
    main()
