"""Whom the host reaches: the broker, the neighbours through whom its default routes go, and whether it has name servers."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from ipaddress import ip_address

from kombu import Connection
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from workers.contract.broker import TRANSPORT_OPTIONS
from workers.host.layouts import Layout, gateways
from workers.host.links import index_of
from workers.host.name_servers import read_name_servers

_ANSWER_SECONDS = 2
_BETWEEN_SECONDS = 0.5
_DISCARD = 9  # the port that nobody has to listen on: asking for the neighbour is all that is wanted
_ANSWERED = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # linux/neighbour.h: reachable, stale, delay, probe, permanent


@dataclass(frozen=True)
class Reached:
    """Who answered before a change, and whether systemd-resolved had name servers for the interface alone."""

    broker: bool
    neighbours: tuple[str, ...]
    has_name_servers: bool


def reached_now(broker_url: str, layout: Layout, port: str) -> Reached:
    """The broker, and those gateways of the layout that answer at this interface."""
    return Reached(
        broker=_broker_answers(broker_url),
        neighbours=tuple(each for each in gateways(layout) if _neighbour_answers(each, port)),
        has_name_servers=layout.get("name_servers") is not None,
    )


def still_reaches(broker_url: str, before: Reached, port: str, *, seconds: float) -> str:
    """Which of them does not answer when that time is over, in words; empty where all do.

    An answer in the first moment proves little: a neighbour's memory and a switch's table go on for a while.
    """
    deadline = time.monotonic() + seconds
    while True:
        is_last = time.monotonic() >= deadline
        lost = ["the broker"] if before.broker and not _broker_answers(broker_url) else []
        lost += [each for each in before.neighbours if not _neighbour_answers(each, port)]
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


def _neighbour_answers(address: str, port: str) -> bool:
    """The neighbour's MAC is known at this interface; it is asked for by sending it something, and given a moment."""
    index = index_of(port)
    six = ip_address(address).version == 6
    family = socket.AF_INET6 if six else socket.AF_INET
    target = (address, _DISCARD, 0, index) if six else (address, _DISCARD)
    deadline = time.monotonic() + 1.0
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sender, IPRoute() as route:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, port.encode())
            sender.sendto(b"", target)
            while time.monotonic() < deadline:
                for message in route.get_neighbours(family=family, ifindex=index):
                    if message.get_attr("NDA_DST") == address and message["state"] & _ANSWERED:
                        return True
                time.sleep(0.05)
    except (OSError, NetlinkError):
        return False
    return False
