"""A fingerprint of our tables as the kernel holds them: the same as long as nobody changed a rule, chain, set or element of ours.

The kernel is asked for everything in its own words, which are not read but hashed: some milliseconds, where nft's listing takes
hundreds. What changes by itself is left out: counters, references, what dynamic sets hold.
Source: linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator

from workers.host import nfta
from workers.host.nfnetlink import (
    FAMILIES,
    Kind,
    NetlinkError,
    attribute,
    attributes,
    connection,
    dumped,
    elements,
    text,
)
from workers.plan.rulesets.parts import MAPS, TABLE

_PASSING = {
    Kind.GET_TABLE: {nfta.TABLE_USE},
    Kind.GET_CHAIN: {nfta.CHAIN_USE, nfta.CHAIN_COUNTERS},
    Kind.GET_SET: {nfta.SET_COUNT},
}


def fingerprint() -> bytes | None:
    """Of both of our tables, in this network namespace; None where the kernel does not say."""
    digest = hashlib.sha256()
    try:
        with connection() as link:
            for family in FAMILIES:
                for kind in (Kind.GET_TABLE, Kind.GET_CHAIN, Kind.GET_RULE, Kind.GET_SET):
                    for said in _ours(link, kind, family):
                        digest.update(said)
            for _, (family, name) in MAPS:
                digest.update(f"{family} {name}".encode())
                for element in sorted(elements(link, family, TABLE, name)):
                    digest.update(element)
    except NetlinkError:
        return None
    return digest.digest()


def _ours(link: socket.socket, kind: Kind, family: str) -> Iterator[bytes]:
    """What there is of one kind in our table of the family, in the kernel's order."""
    wanted = TABLE.encode() + b"\0"
    named = b"" if kind in (Kind.GET_TABLE, Kind.GET_CHAIN) else text(nfta.TABLE, TABLE)
    passing = _PASSING.get(kind, set())
    for body in dumped(link, kind, family, named):
        held = list(attributes(body))
        if (nfta.TABLE, wanted) in held:
            yield bytes([kind]) + b"".join(
                attribute(number, value) for number, value in held if number not in passing
            )
