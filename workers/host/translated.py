"""Parts of our rules as the kernel's own messages: nft translates them once, in a network namespace where nothing else is.

What nft puts into the kernel there is read back and given out as the messages that make the same elsewhere. So nft's language
stays the only one in which rules are written, and a change of the host's rules takes no longer for all that is there already.
Source: linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import ctypes
import functools
import os
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from workers.host import nfta
from workers.host.commands import run
from workers.host.nfnetlink import (
    Flag,
    Kind,
    Message,
    attribute,
    attributes,
    connection,
    dumped,
    elements,
    nested,
    text,
)
from workers.plan.rulesets.changes import change_of, differing, script, whole
from workers.plan.rulesets.parts import MAPS, TABLE, Parts, Place

_CLONE_NEWNET = 0x40000000
_SECONDS = 20
_MOST_KEPT = 32

_SET_PASSING = {nfta.SET_ID, nfta.SET_HANDLE, nfta.SET_TYPE, nfta.SET_COUNT}  # the kernel's own
_SET_IS_ANONYMOUS = 0x1


@dataclass(frozen=True)
class _AnonymousSet:
    """A set within a rule, such as { 80, 443 }: what it is, and its elements."""

    name: str
    held: bytes
    elements: bytes


@dataclass(frozen=True)
class _Rule:
    held: Mapping[int, bytes]
    sets: tuple[_AnonymousSet, ...]


@dataclass(frozen=True)
class Translated:
    """Chains, sets and elements of parts, to be made anywhere; by the names of the parts' own words."""

    rules: Mapping[Place, tuple[_Rule, ...]]
    sets: Mapping[Place, bytes]
    elements: Mapping[tuple[Place, bytes], bytes]

    def making_set(self, place: Place, number: int) -> Message:
        """The declaration of a set; `number` is one of the transaction's own."""
        return _new_set(place[0], text(nfta.SET_NAME, place[1]), self.sets[place], number)

    def making_rules(self, place: Place, first: int) -> list[Message]:
        """The rules of a chain, with the sets within them, numbered from `first` on."""
        messages: list[Message] = []
        for rule in self.rules[place]:
            numbers: dict[str, int] = {}
            for each in rule.sets:
                numbers[each.name] = number = first + len(messages)
                named = text(nfta.SET_NAME, _any_name(each.name))
                messages.append(_new_set(place[0], named, each.held, number))
                body = (
                    text(nfta.TABLE, TABLE)
                    + text(nfta.ELEMENTS_SET, _any_name(each.name))
                    + attribute(nfta.ELEMENTS_SET_ID, struct.pack(">I", number))
                    + nested(nfta.ELEMENTS, each.elements)
                )
                messages.append(Message(Kind.NEW_ELEMENTS, place[0], body, Flag.CREATE))
            messages.append(_new_rule(place, rule, numbers))
        return messages

    def making_element(self, place: Place, key: bytes) -> Message:
        """An element of one of our maps."""
        body = (
            text(nfta.TABLE, TABLE)
            + text(nfta.ELEMENTS_SET, place[1])
            + nested(nfta.ELEMENTS, self.elements[place, key])
        )
        return Message(Kind.NEW_ELEMENTS, place[0], body, Flag.CREATE)


def translated(parts: Parts) -> Translated:
    """All of these parts. Raises NetlinkError, and OffshootError where nft does not take them."""
    if not parts:
        return Translated({}, {}, {})
    return _namespace().submit(_translated, parts).result()


def key_of_interface(name: str) -> bytes:
    """An interface as a key of a map (IFNAMSIZ: 16 bytes)."""
    return name.encode().ljust(16, b"\0")


def key_of_port(protocol: int, port: int) -> bytes:
    """A protocol and a port as a key of a map: each begins at a register of 4 bytes."""
    return struct.pack("B3x", protocol) + struct.pack(">H2x", port)


class _Held(threading.local):
    """What the namespace of a thread holds; None where that is not known."""

    parts: Parts | None = None


_held = _Held()


@functools.cache
def _namespace() -> ThreadPoolExecutor:
    """One thread in a network namespace of its own, for as long as the worker lives."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="nft", initializer=_leave)


def _leave() -> None:
    """unshare(2). The programs that this thread starts are in its namespace too."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _translated(parts: Parts) -> Translated:
    _bring(parts)
    with connection() as link:
        sets = {family: dict(_sets(link, family)) for family in ("inet", "bridge")}
        wanted_sets = [place for part in parts.values() for place in part.sets]
        wanted_chains = [place for part in parts.values() for place in part.chains]
        rules: dict[Place, list[_Rule]] = {place: [] for place in wanted_chains}
        for family in ("inet", "bridge"):
            for body in dumped(link, Kind.GET_RULE, family, text(nfta.TABLE, TABLE)):
                held = dict(attributes(body))
                place = family, _word(held[nfta.RULE_CHAIN])
                if place in rules:
                    rules[place].append(_Rule(held, tuple(_within(link, family, held, sets[family]))))
        return Translated(
            rules={place: tuple(found) for place, found in rules.items()},
            sets={(family, name): sets[family][name] for family, name in wanted_sets},
            elements={
                (place, _key(element)): nested(nfta.LIST_ELEMENT, element)
                for _, place in MAPS
                for element in elements(link, place[0], TABLE, place[1])
            },
        )


def _bring(parts: Parts) -> None:
    """These parts are in the namespace. Those of earlier times stay for a while: to take rules away takes the kernel longest."""
    before, _held.parts = _held.parts, None
    if before is not None and len(before) < _MOST_KEPT:
        together = {**before, **parts}
        words = script(change_of(differing(before, together)))
        if not words or run(("nft", "-f", "-"), stdin=words, seconds=_SECONDS, check=False).status == 0:
            _held.parts = together
            return
    run(("nft", "-f", "-"), stdin=whole(parts), seconds=_SECONDS)
    _held.parts = dict(parts)


def _sets(link: socket.socket, family: str) -> Iterator[tuple[str, bytes]]:
    """Names of sets, and what else is said of each when it is made."""
    for body in dumped(link, Kind.GET_SET, family, text(nfta.TABLE, TABLE)):
        held = dict(attributes(body))
        kept = {nfta.TABLE, nfta.SET_NAME, *_SET_PASSING}
        yield (
            _word(held[nfta.SET_NAME]),
            b"".join(attribute(number, value) for number, value in held.items() if number not in kept),
        )


def _within(
    link: socket.socket, family: str, rule: Mapping[int, bytes], sets: Mapping[str, bytes]
) -> Iterator[_AnonymousSet]:
    """The sets within a rule."""
    for name, data in _expressions(rule):
        if name != "lookup":
            continue
        looked_in = _word(dict(attributes(data))[nfta.LOOKUP_SET])
        flags = dict(attributes(sets[looked_in])).get(nfta.SET_FLAGS, bytes(4))
        if struct.unpack(">I", flags)[0] & _SET_IS_ANONYMOUS:
            held = b"".join(
                nested(nfta.LIST_ELEMENT, element) for element in elements(link, family, TABLE, looked_in)
            )
            yield _AnonymousSet(looked_in, sets[looked_in], held)


def _expressions(rule: Mapping[int, bytes]) -> Iterator[tuple[str, bytes]]:
    for _, expression in attributes(rule.get(nfta.RULE_EXPRESSIONS, b"")):
        said = dict(attributes(expression))
        yield _word(said[nfta.EXPRESSION_NAME]), said.get(nfta.EXPRESSION_DATA, b"")


def _new_set(family: str, named: bytes, held: bytes, number: int) -> Message:
    body = text(nfta.TABLE, TABLE) + named + held + attribute(nfta.SET_ID, struct.pack(">I", number))
    return Message(Kind.NEW_SET, family, body, Flag.CREATE)


def _new_rule(place: Place, rule: _Rule, numbers: Mapping[str, int]) -> Message:
    expressions = b"".join(
        nested(
            nfta.LIST_ELEMENT,
            text(nfta.EXPRESSION_NAME, name),
            nested(nfta.EXPRESSION_DATA, _looked_up(data, numbers)),
        )
        if name == "lookup"
        else nested(nfta.LIST_ELEMENT, text(nfta.EXPRESSION_NAME, name), nested(nfta.EXPRESSION_DATA, data))
        for name, data in _expressions(rule.held)
    )
    userdata = rule.held.get(nfta.RULE_USERDATA)
    body = (
        text(nfta.TABLE, TABLE)
        + text(nfta.RULE_CHAIN, place[1])
        + nested(nfta.RULE_EXPRESSIONS, expressions)
        + (attribute(nfta.RULE_USERDATA, userdata) if userdata else b"")
    )
    return Message(Kind.NEW_RULE, place[0], body, Flag.CREATE | Flag.APPEND)


def _looked_up(data: bytes, numbers: Mapping[str, int]) -> bytes:
    """A lookup in a set within the rule names it by its number: the kernel gives it a name of its own."""
    held = dict(attributes(data))
    name = _word(held[nfta.LOOKUP_SET])
    if name not in numbers:
        return data
    said = {
        nfta.LOOKUP_SET: _any_name(name).encode() + b"\0",
        nfta.LOOKUP_SET_ID: struct.pack(">I", numbers[name]),
    }
    return b"".join(attribute(number, value) for number, value in (held | said).items())


def _any_name(name: str) -> str:
    """What the kernel fills in a number of its own for (nf_tables_api.c, nf_tables_set_alloc_name)."""
    return name.rstrip("0123456789") + "%d"


def _key(element: bytes) -> bytes:
    return dict(attributes(dict(attributes(element))[nfta.ELEMENT_KEY]))[nfta.DATA_VALUE]


def _word(value: bytes) -> str:
    return value.rstrip(b"\0").decode()
