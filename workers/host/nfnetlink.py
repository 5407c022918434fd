"""The kernel's rules in its own words: questions (dumps) and transactions (batches) of netfilter's netlink.

nft says the same in words of people, but reads every chain and set of the host before each change, so that it takes longer the
more there is. Sources: linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h, netlink(7).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from workers.host import nfta


class Kind(IntEnum):
    """What a message of nf_tables' asks for."""

    GET_TABLE = 1
    NEW_CHAIN = 3
    GET_CHAIN = 4
    DELETE_CHAIN = 5
    NEW_RULE = 6
    GET_RULE = 7
    DELETE_RULE = 8
    NEW_SET = 9
    GET_SET = 10
    DELETE_SET = 11
    NEW_ELEMENTS = 12
    GET_ELEMENTS = 13
    DELETE_ELEMENTS = 14
    GET_GENERATION = 16


class Flag(IntFlag):
    """netlink(7): what is asked of the kernel with a message."""

    NONE = 0
    REQUEST = 0x1
    ACKNOWLEDGE = 0x4
    DUMP = 0x300
    CREATE = 0x400
    APPEND = 0x800


FAMILIES = {"inet": 1, "bridge": 7}
"""Families of tables, by nft's word (NFPROTO_INET, NFPROTO_BRIDGE)."""

_NETLINK_NETFILTER = 12
_SO_SNDBUFFORCE = 32
"""A send buffer above the host's limit, for who may change rules at all (socket(7))."""

_NF_TABLES = 10
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_ERROR, _DONE, _INTERRUPTED = 2, 3, 0x10
_HEADER = struct.Struct("=IHHII")
_NFGEN = struct.Struct("=BBH")
_KIND_BITS, _NESTED = 0x3FFF, 0x8000
_ANSWER_SECONDS = 5


class NetlinkError(Exception):
    """The kernel does not say, was disturbed while it did, or refused a change, of which nothing is in force then."""


@dataclass(frozen=True)
class Message:
    """One step of a transaction."""

    kind: Kind
    family: str
    attributes: bytes
    flags: Flag = Flag.NONE


@contextmanager
def connection() -> Iterator[socket.socket]:
    """To the rules of this thread's network namespace. Raises NetlinkError, also for what fails inside."""
    try:
        with socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
        ) as link:
            link.settimeout(_ANSWER_SECONDS)
            yield link
    except (OSError, struct.error) as exc:
        raise NetlinkError(str(exc)) from exc


def asked(link: socket.socket, kind: Kind) -> bytes:
    """The attributes of the one answer to a question about no family. Raises NetlinkError."""
    link.sendto(_message(_NF_TABLES << 8 | kind, Flag.REQUEST, 1, socket.AF_UNSPEC, b""), (0, 0))
    for said, _, body in _messages(link.recv(1 << 17)):
        if said == _ERROR:
            raise NetlinkError(_refusal(body))
        return body[_NFGEN.size :]
    raise NetlinkError("no answer")


def dumped(link: socket.socket, kind: Kind, family: str, asked: bytes = b"") -> list[bytes]:
    """The attributes of each message of a dump. Raises NetlinkError where it failed or somebody changed rules meanwhile."""
    found: list[bytes] = []
    link.sendto(
        _message(_NF_TABLES << 8 | kind, Flag.REQUEST | Flag.DUMP, 1, FAMILIES[family], asked), (0, 0)
    )
    while True:
        for said, flags, body in _messages(link.recv(1 << 17)):
            if said == _ERROR:
                raise NetlinkError(_refusal(body))
            if flags & _INTERRUPTED:
                raise NetlinkError("the rules were changed while they were read")
            if said == _DONE:
                return found
            found.append(body[_NFGEN.size :])


def elements(link: socket.socket, family: str, table: str, name: str) -> list[bytes]:
    """The elements of a set or map, in no order of the kernel's. Raises NetlinkError as `dumped` does."""
    named = text(nfta.TABLE, table) + text(nfta.ELEMENTS_SET, name)
    return [
        element
        for body in dumped(link, Kind.GET_ELEMENTS, family, named)
        for number, held in attributes(body)
        if number == nfta.ELEMENTS
        for _, element in attributes(held)
    ]


def commit(link: socket.socket, messages: Sequence[Message]) -> None:
    """All of it, or nothing. Raises NetlinkError with the kernel's word where it is refused."""
    last = len(messages) - 1
    batch = b"".join(
        (
            _message(_BATCH_BEGIN, Flag.REQUEST, 0, 0, b"", about=_NF_TABLES),
            *(
                _message(
                    _NF_TABLES << 8 | each.kind,
                    Flag.REQUEST | each.flags | (Flag.ACKNOWLEDGE if number == last else Flag.NONE),
                    number + 1,
                    FAMILIES[each.family],
                    each.attributes,
                )
                for number, each in enumerate(messages)
            ),
            _message(_BATCH_END, Flag.REQUEST, last + 2, 0, b"", about=_NF_TABLES),
        )
    )
    with suppress(PermissionError):
        link.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 2 * len(batch))
    link.sendto(batch, (0, 0))
    # Errors come in the order of the messages, before the last one is acknowledged.
    for said, _, body in _messages(link.recv(1 << 17)):
        number = struct.unpack_from("=i", body)[0] if said == _ERROR else 0
        if said != _ERROR or number:
            raise NetlinkError(os.strerror(-number) if number else "an answer that was not asked for")
        return
    raise NetlinkError("no answer")


def attributes(held: bytes) -> Iterator[tuple[int, bytes]]:
    """Numbers and values of what a message, or an attribute that holds others, consists of. Raises NetlinkError."""
    at = 0
    while at + 4 <= len(held):
        size, kind = struct.unpack_from("=HH", held, at)
        if size < 4:
            raise NetlinkError("an attribute of no length")
        yield kind & _KIND_BITS, held[at + 4 : at + size]
        at += size + 3 & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, filled up to its boundary."""
    size = 4 + len(value)
    return struct.pack("=HH", size, kind) + value + bytes(-size % 4)


def nested(kind: int, *held: bytes) -> bytes:
    """An attribute that holds others."""
    return attribute(kind | _NESTED, b"".join(held))


def text(kind: int, value: str) -> bytes:
    """An attribute that is a name."""
    return attribute(kind, value.encode() + b"\0")


def _refusal(body: bytes) -> str:
    return os.strerror(-struct.unpack_from("=i", body)[0])


def _message(kind: int, flags: int, number: int, family: int, held: bytes, *, about: int = 0) -> bytes:
    """`about`: the subsystem that a batch is for, in network order."""
    head = _HEADER.pack(_HEADER.size + _NFGEN.size + len(held), kind, flags, number, 0)
    return head + _NFGEN.pack(family, 0, socket.htons(about)) + held


def _messages(answer: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Kind, flags and body of each."""
    at = 0
    while at + _HEADER.size <= len(answer):
        size, kind, flags, _, _ = _HEADER.unpack_from(answer, at)
        if size < _HEADER.size:
            raise NetlinkError("a message of no length")
        yield kind, flags, answer[at + _HEADER.size : at + size]
        at += size + 3 & ~3
