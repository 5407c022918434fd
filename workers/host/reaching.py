"""Whom the host reaches by an interface: the broker, its gateways and neighbours, and whether it has name servers."""

from __future__ import annotations

import time
from dataclasses import dataclass

from kombu import Connection

from workers.contract.broker import TRANSPORT_OPTIONS
from workers.host.layouts import Layout
from workers.host.name_servers import read_name_servers
from workers.host.neighbours import answering, known_neighbours, ways_out

_ANSWER_SECONDS = 2
_BETWEEN_SECONDS = 0.5


@dataclass(frozen=True)
class Reached:
    """Who answered before a change, and whether systemd-resolved had name servers for the interface alone.

    `gateways` are those of default routes; `neighbours` others that the host knew anyway.
    """

    broker: bool
    gateways: tuple[str, ...]
    neighbours: tuple[str, ...]
    has_name_servers: bool


def reached_now(broker_url: str, layout: Layout, port: str) -> Reached:
    """Who answers by this interface, whose layout that is. Raises LinkError."""
    gateways = ways_out(port)
    neighbours = tuple(each for each in known_neighbours(port) if each not in gateways)
    there = answering((*gateways, *neighbours), port)
    return Reached(
        broker=_broker_answers(broker_url),
        gateways=tuple(each for each in gateways if each in there),
        neighbours=tuple(each for each in neighbours if each in there),
        has_name_servers=layout.get("name_servers") is not None,
    )


def still_reaches(broker_url: str, before: Reached, port: str, *, seconds: float) -> str:
    """Which of them does not answer when that time is over, in words; empty where all do. Raises LinkError.

    An answer in the first moment proves little: a neighbour's memory and a switch's table go on for a while.
    """
    deadline = time.monotonic() + seconds
    while True:
        is_last = time.monotonic() >= deadline
        lost = ["the broker"] if before.broker and not _broker_answers(broker_url) else []
        lost += _lost_at(port, before)
        lost += ["its name servers"] if before.has_name_servers and read_name_servers(port) is None else []
        if is_last:
            return ", ".join(lost)
        time.sleep(max(0.0, min(_BETWEEN_SECONDS, deadline - time.monotonic())))


def _broker_answers(url: str) -> bool:
    """A new connection is answered: one that was open before proves nothing."""
    limits = {"socket_timeout": _ANSWER_SECONDS, "socket_connect_timeout": _ANSWER_SECONDS}
    try:
        with Connection(
            url, connect_timeout=_ANSWER_SECONDS, transport_options=TRANSPORT_OPTIONS | limits
        ) as broker:
            broker.ensure_connection(max_retries=1, interval_start=0, timeout=_ANSWER_SECONDS)
            broker.channel()  # which asks it something
    except Exception:  # whatever the transport calls it: it was not reached
        return False
    return True


def _lost_at(port: str, before: Reached) -> list[str]:
    """Each gateway has to answer, and to be one again; of the others one is enough, since machines go to sleep."""
    there = answering((*before.gateways, *before.neighbours), port)
    used = ways_out(port)
    lost = [f"the gateway {each}" for each in before.gateways if each not in there]
    lost += [f"a default route by {each}" for each in before.gateways if each in there and each not in used]
    if before.neighbours and there.isdisjoint(before.neighbours):
        lost.append(f"any neighbour of {', '.join(before.neighbours)}")
    return lost
