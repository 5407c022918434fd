"""Speaking with the agent inside a running guest (qemu-ga), over the machine's agent socket.

Protocol: https://qemu-project.gitlab.io/qemu/interop/qemu-ga-ref.html, one JSON object a line. The guest is hostile: what it
answers is bounded in time and bytes, checked against a type, and cleaned of what is not text. qemu serves one client a
socket, so one at a time speaks with a machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Any, TypeVar

import structlog
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from workers.contract.errors import ErrorCode, OffshootError
from workers.host.monitor import MonitorError, MonitorLoop
from workers.plan.names import MachineFolder

CHARDEV = "agent"
ANSWER_SECONDS = 3.0
FREEZE_SECONDS = 30.0
"""A freeze writes out all that the guest has not written yet."""

_MOST_BYTES = 512 * 1024
_MOST_ADDRESSES = 64
_TURN_SECONDS = 60.0
_THAW_TRIES = 3
_DELIMITER = b"\xff"

T = TypeVar("T")
log = structlog.get_logger()


class AgentAbsent(OffshootError):
    """No agent answers in the guest."""

    code = ErrorCode.AGENT_ABSENT


class AgentFailed(OffshootError):
    """The agent refused, or answered what makes no sense; the detail has its words."""

    code = ErrorCode.AGENT_FAILED


class Busy(OffshootError):
    """Somebody else speaks with the agent now."""

    code = ErrorCode.AGENT_ABSENT


class _Refusal(BaseModel):
    desc: str = ""


class _Reply(BaseModel):
    result: Any = Field(default=None, alias="return")
    error: _Refusal | None = None


class _System(BaseModel):
    pretty: str = Field(default="", alias="pretty-name")
    name: str = ""
    version: str = ""


class _HostName(BaseModel):
    name: str = Field(default="", alias="host-name")


class _Address(BaseModel):
    address: str = Field(default="", alias="ip-address")


class _Interface(BaseModel):
    addresses: Annotated[list[_Address], Field(alias="ip-addresses", max_length=1024)] = []


_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)
_NUMBER = TypeAdapter(int)
_WORD = TypeAdapter(str)
_SYSTEM = TypeAdapter(_System)
_HOST_NAME = TypeAdapter(_HostName)
_INTERFACES = TypeAdapter(Annotated[list[_Interface], Field(max_length=1024)])


class Agent:
    """An agent that has just answered. Each call raises AgentAbsent or AgentFailed."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""

    def system(self) -> str:
        """Name and version of the guest's operating system."""
        said = self.ask("guest-get-osinfo", _SYSTEM)
        return text(said.pretty or f"{said.name} {said.version}", most=200)

    def host_name(self) -> str:
        """What the guest calls itself."""
        return text(self.ask("guest-get-host-name", _HOST_NAME).name, most=255)

    def addresses(self) -> tuple[str, ...]:
        """The addresses of the guest's cards, IPv4 first, without loopback and IPv6 link-local ones."""
        interfaces = self.ask("guest-network-get-interfaces", _INTERFACES)
        found = [_parsed(each.address) for card in interfaces for each in card.addresses]
        real = dict.fromkeys(each for each in found if each is not None)
        in_order = sorted(real, key=lambda each: each.version)
        return tuple(str(each) for each in in_order[:_MOST_ADDRESSES])

    def is_frozen(self) -> bool:
        """Its filesystems are frozen, by an agent that was asked to."""
        return self.ask("guest-fsfreeze-status", _WORD) == "frozen"

    def freeze(self) -> int:
        """Have it write out and freeze its filesystems; how many."""
        return self.ask("guest-fsfreeze-freeze", _NUMBER, seconds=FREEZE_SECONDS)

    def thaw(self) -> None:
        """Let its filesystems go on."""
        self.ask("guest-fsfreeze-thaw", _NUMBER, seconds=FREEZE_SECONDS)

    def shut_down(self) -> None:
        """Have the guest shut itself down and switch off. The agent answers nothing where it does."""
        self._send("guest-shutdown", {"mode": "powerdown"})
        try:
            self._receive("guest-shutdown", _ANYTHING, seconds=1.0)
        except AgentAbsent:
            pass  # that is how it agrees

    def set_password(self, account: str, password_hash: str) -> None:
        """Set an account's password, given as a crypt(5) hash."""
        encoded = b64encode(password_hash.encode()).decode()
        self.ask(
            "guest-set-user-password", _ANYTHING, seconds=10, username=account, password=encoded, crypted=True
        )

    def ask(
        self, command: str, answer: TypeAdapter[T], *, seconds: float = ANSWER_SECONDS, **arguments: Any
    ) -> T:
        """Give a command and wait at most `seconds` for what it returns."""
        self._send(command, arguments)
        return self._receive(command, answer, seconds=seconds)

    def synchronise(self, seconds: float) -> None:
        """Throw away what was left from before. Raises AgentAbsent where nobody answers."""
        number = secrets.randbelow(2**31)
        deadline = time.monotonic() + seconds
        self._send("guest-sync-delimited", {"id": number}, before=_DELIMITER)
        while True:
            self._read_until(_DELIMITER, deadline)
            try:
                if _Reply.model_validate_json(self._read_until(b"\n", deadline)).result == number:
                    return
            except ValidationError:
                pass  # a rest of an earlier answer

    def _send(self, command: str, arguments: dict[str, Any], before: bytes = b"") -> None:
        message: dict[str, Any] = {"execute": command}
        if arguments:
            message["arguments"] = arguments
        self._connection.settimeout(ANSWER_SECONDS)
        try:
            self._connection.sendall(before + json.dumps(message).encode() + b"\n")
        except OSError as exc:
            raise AgentAbsent(f"{command}: {exc}") from exc

    def _receive(self, command: str, answer: TypeAdapter[T], *, seconds: float) -> T:
        line = self._read_until(b"\n", time.monotonic() + seconds)
        try:
            reply = _Reply.model_validate_json(line)
            if reply.error is None:
                return answer.validate_python(reply.result)
        except ValidationError as exc:
            raise AgentFailed(f"{command}: the answer makes no sense: {text(str(exc), most=500)}") from exc
        raise AgentFailed(f"{command}: {text(reply.error.desc, most=500) or 'it refused'}")

    def _read_until(self, end: bytes, deadline: float) -> bytes:
        parts, size = [self._rest], len(self._rest)
        while end not in parts[-1]:
            left = deadline - time.monotonic()
            if left <= 0:
                raise AgentAbsent("no answer in time")
            self._connection.settimeout(left)
            try:
                chunk = self._connection.recv(16 * 1024)
            except TimeoutError as exc:
                raise AgentAbsent("no answer in time") from exc
            except OSError as exc:
                raise AgentAbsent(str(exc)) from exc
            size += len(chunk)
            if not chunk:
                raise AgentAbsent("the connection ended")
            if size > _MOST_BYTES:
                raise AgentFailed("the answer is too long")
            parts.append(chunk)
        whole, _, self._rest = b"".join(parts).partition(end)
        return whole


@contextmanager
def agent_of(folder: MachineFolder, *, turn_seconds: float = _TURN_SECONDS) -> Iterator[Agent]:
    """The machine's agent, which has just answered; nobody else speaks with it meanwhile.

    Raises AgentAbsent where none answers within a few seconds, Busy where it was somebody else's for `turn_seconds`.
    """
    with _turn(folder, turn_seconds), _connected(folder) as agent:
        yield agent


@contextmanager
def frozen(monitors: MonitorLoop, folder: MachineFolder) -> Iterator[bool]:
    """Hold the guest's filesystems still while what is inside is done; True where the agent did so.

    Without an agent, or where it cannot, it yields False at once. They are always let go again: here, or, after a
    worker that was killed or an agent that did not listen, by the next regular look at the guest. Keep it short, and
    keep no memory of the guest meanwhile: it would wake up frozen.
    """
    with ExitStack() as stack:
        froze = False
        if _someone_listens(monitors, folder):
            try:
                stack.enter_context(_turn(folder, _TURN_SECONDS))
            except (Busy, AgentAbsent) as exc:
                log.info("not frozen", folder=str(folder.root), detail=exc.detail)
            else:
                stack.callback(_thaw, folder)
                froze = _try_to_freeze(folder)
        yield froze


def port_is_open(monitors: MonitorLoop, folder: MachineFolder) -> bool:
    """A program in the guest has opened the agent's port. Raises MonitorError."""
    [devices] = monitors.execute(folder.qmp_socket, ("query-chardev", {}))
    return chardev_is_open(devices)


def chardev_is_open(devices: Any) -> bool:
    """What query-chardev says of the agent's port."""
    return any(each.get("label") == CHARDEV and each.get("frontend-open") is True for each in devices)


def text(raw: str, *, most: int) -> str:
    """What a guest wrote as one line of visible characters, at most `most` long."""
    return " ".join("".join(each if each.isprintable() else " " for each in raw[: 4 * most]).split())[:most]


def _someone_listens(monitors: MonitorLoop, folder: MachineFolder) -> bool:
    try:
        return port_is_open(monitors, folder)
    except MonitorError:
        return False


def _try_to_freeze(folder: MachineFolder) -> bool:
    try:
        with _connected(folder) as agent:
            return agent.freeze() > 0
    except (AgentAbsent, AgentFailed) as exc:
        log.info("not frozen", folder=str(folder.root), detail=exc.detail)
        return False


def _thaw(folder: MachineFolder) -> None:
    """Also where the freeze was refused or not answered: it may have been done half-way."""
    for attempt in range(_THAW_TRIES):
        try:
            with _connected(folder) as agent:
                if agent.is_frozen():
                    agent.thaw()
                return
        except (AgentAbsent, AgentFailed) as exc:
            log.warning("not thawed", folder=str(folder.root), attempt=attempt, detail=exc.detail)


@contextmanager
def _turn(folder: MachineFolder, seconds: float) -> Iterator[None]:
    """A lock on a file, so that it ends with its holder and keeps an old and a new worker apart too."""
    try:
        descriptor = os.open(folder.agent_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise AgentAbsent(str(exc)) from exc
    deadline = time.monotonic() + seconds
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Busy(f"not within {seconds:g} s") from None
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _connected(folder: MachineFolder) -> Iterator[Agent]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_SECONDS)
        try:
            connection.connect(str(folder.agent_socket))
        except OSError as exc:
            raise AgentAbsent(str(exc)) from exc
        agent = Agent(connection)
        agent.synchronise(ANSWER_SECONDS)
        yield agent


def _parsed(raw: str) -> IPv4Address | IPv6Address | None:
    """An address that says something; None for another, and for what is none."""
    try:
        address = ip_address(raw.partition("%")[0])
    except ValueError:
        return None
    pointless = (
        address.is_loopback or address.is_unspecified or (address.version == 6 and address.is_link_local)
    )
    return None if pointless else address
