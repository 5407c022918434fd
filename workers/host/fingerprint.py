"""A fingerprint of our tables as the kernel holds them: the same as long as nobody changed a rule, chain, set or element of ours.

The kernel is asked for everything in its own words (netlink dumps), which are not read but hashed: some milliseconds, where
nft's listing takes hundreds. What changes by itself is left out: counters, references, what dynamic sets hold.
Source: linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import hashlib
import socket
import struct
from collections.abc import Iterator

from workers.plan.rulesets.parts import MAPS, TABLE

_NETLINK_NETFILTER = 12
_GET_TABLE, _GET_CHAIN, _GET_RULE, _GET_SET, _GET_ELEMENTS = 1, 4, 7, 10, 13
_FAMILIES = {"inet": 1, "bridge": 7}
_REQUEST_DUMP = 0x1 | 0x300
_NAME = 1
"""The attribute that names the table, in messages of each kind but a table's own, where it is the name."""

_SET_NAME, _ELEMENTS = 2, 3
_PASSING = {
    _GET_TABLE: {3},  # NFTA_TABLE_USE
    _GET_CHAIN: {6, 8},  # NFTA_CHAIN_USE, NFTA_CHAIN_COUNTERS
    _GET_SET: {20},  # NFTA_SET_COUNT
}
_ERROR, _DONE, _INTERRUPTED = 2, 3, 0x10
_HEADER = struct.Struct("=IHHII")
_NFGEN = struct.Struct("=BBH")


class _Unknown(Exception):
    """The kernel does not say, or what it said was changed meanwhile."""


def fingerprint() -> bytes | None:
    """Of both of our tables, in this network namespace; None where the kernel does not say."""
    digest = hashlib.sha256()
    try:
        with socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
        ) as link:
            link.settimeout(5)
            for family in _FAMILIES:
                for kind in (_GET_TABLE, _GET_CHAIN, _GET_RULE, _GET_SET):
                    for said in _ours(link, kind, family):
                        digest.update(said)
            for _, (family, name) in MAPS:
                digest.update(f"{family} {name}".encode())
                for element in _elements(link, family, name):
                    digest.update(element)
    except (OSError, _Unknown, struct.error):
        return None
    return digest.digest()


def _ours(link: socket.socket, kind: int, family: str) -> Iterator[bytes]:
    """What there is of one kind in our table of the family, in the kernel's order."""
    wanted = TABLE.encode() + b"\0"
    named = b"" if kind in (_GET_TABLE, _GET_CHAIN) else _attribute(_NAME, wanted)
    passing = _PASSING.get(kind, set())
    for body in _dumped(link, kind, _FAMILIES[family], named):
        attributes = list(_attributes(body))
        if (_NAME, wanted) in attributes:
            yield bytes([kind]) + b"".join(
                _attribute(number, value) for number, value in attributes if number not in passing
            )


def _elements(link: socket.socket, family: str, name: str) -> list[bytes]:
    """The elements of one of our maps, in no order of the kernel's."""
    named = _attribute(_NAME, TABLE.encode() + b"\0") + _attribute(_SET_NAME, name.encode() + b"\0")
    return sorted(
        value
        for body in _dumped(link, _GET_ELEMENTS, _FAMILIES[family], named)
        for number, held in _attributes(body)
        if number == _ELEMENTS
        for _, value in _attributes(held)
    )


def _dumped(link: socket.socket, kind: int, family: int, attributes: bytes) -> Iterator[bytes]:
    """The attributes of each message of a dump. Raises _Unknown where it failed or was disturbed."""
    length = _HEADER.size + _NFGEN.size + len(attributes)
    head = _HEADER.pack(length, 10 << 8 | kind, _REQUEST_DUMP, 1, 0)
    link.sendto(head + _NFGEN.pack(family, 0, 0) + attributes, (0, 0))
    while True:
        answer, at = link.recv(1 << 17), 0
        while at + _HEADER.size <= len(answer):
            size, said, flags, _, _ = _HEADER.unpack_from(answer, at)
            if flags & _INTERRUPTED or said == _ERROR or size < _HEADER.size:
                raise _Unknown
            if said == _DONE:
                return
            yield answer[at + _HEADER.size + _NFGEN.size : at + size]
            at += size + 3 & ~3


def _attributes(held: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(held):
        size, kind = struct.unpack_from("=HH", held, at)
        if size < 4:
            raise _Unknown
        yield kind & 0x3FFF, held[at + 4 : at + size]
        at += size + 3 & ~3


def _attribute(kind: int, value: bytes) -> bytes:
    size = 4 + len(value)
    return struct.pack("=HH", size, kind) + value + bytes(-size % 4)
