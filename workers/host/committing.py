"""A change of our rules as one transaction of the kernel's, without nft's reading of everything that is there.

Source: linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

from collections.abc import Iterator

from workers.contract.networks import Protocol
from workers.host import nfta
from workers.host.nfnetlink import Flag, Kind, Message, attribute, commit, connection, nested, text
from workers.host.translated import Translated, key_of_interface, key_of_port
from workers.plan.rulesets.changes import Change
from workers.plan.rulesets.parts import TABLE, Place

_PROTOCOLS = {Protocol.TCP.value: 6, Protocol.UDP.value: 17}


def put(change: Change, made: Translated) -> None:
    """Bring the change into force; `made` has what comes with it. Raises NetlinkError: then nothing of it is in force."""
    with connection() as link:
        commit(link, list(_messages(change, made)))


def _messages(change: Change, made: Translated) -> Iterator[Message]:
    for place, key in change.elements_gone:
        yield Message(Kind.DELETE_ELEMENTS, place[0], _in_set(place) + _elements(_raw(key)))
    for place in change.chains_emptied:
        yield Message(Kind.DELETE_RULE, place[0], _named(nfta.RULE_CHAIN, place))
    for place in change.sets_emptied:
        yield Message(Kind.DELETE_ELEMENTS, place[0], _in_set(place))
    for place in change.chains_gone:
        yield Message(Kind.DELETE_CHAIN, place[0], _named(nfta.CHAIN_NAME, place))
    for place in change.sets_gone:
        yield Message(Kind.DELETE_SET, place[0], _named(nfta.SET_NAME, place))
    number = 1
    for place, _ in change.sets:
        yield made.making_set(place, number)
        number += 1
    for place, _ in change.chains:
        yield Message(Kind.NEW_CHAIN, place[0], _named(nfta.CHAIN_NAME, place), Flag.CREATE)
    for place, _ in change.chains:
        rules = made.making_rules(place, number)
        number += len(rules)
        yield from rules
    for place, key, _ in change.elements:
        yield made.making_element(place, _raw(key))


def _raw(key: str) -> bytes:
    """A key as parts write it (an interface in quotes, or a protocol and a port), in the kernel's form."""
    if key.startswith('"'):
        return key_of_interface(key.strip('"'))
    protocol, port = key.split(" . ")
    return key_of_port(_PROTOCOLS[protocol], int(port))


def _named(number: int, place: Place) -> bytes:
    return text(nfta.TABLE, TABLE) + text(number, place[1])


def _in_set(place: Place) -> bytes:
    return _named(nfta.ELEMENTS_SET, place)


def _elements(key: bytes) -> bytes:
    return nested(
        nfta.ELEMENTS, nested(nfta.LIST_ELEMENT, nested(nfta.ELEMENT_KEY, attribute(nfta.DATA_VALUE, key)))
    )
