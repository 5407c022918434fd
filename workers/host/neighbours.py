"""The neighbours of an interface: through whom its default routes go, whom the host knows there, and who answers now.

The kernel's table proves no answer: it goes on having whom it heard a while ago. So each is asked by a frame of our own, an ARP
request (RFC 826) or a neighbour solicitation (RFC 4861, 4.3), and only what comes to that counts. The table stays as it is.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, Protocol

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from workers.host.links import LinkError, index_of

Address = IPv4Address | IPv6Address

_ANSWER_SECONDS = 1.0
_AGAIN_SECONDS = 0.25
_MOST_KNOWN = 8
_LONGEST = 2048
_KNOWN = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # linux/neighbour.h: reachable, stale, delay, probe, permanent
_UNICAST = 1  # linux/rtnetlink.h
_DISCARD = 9  # a port that nobody has to listen on: nothing is sent there
_ARP = 0x0806  # linux/if_ether.h, linux/if_arp.h
_ARP_WORDS = struct.Struct("!HHBBH6s4s6s4s")
_ETHERNET, _IPV4, _REQUEST, _REPLY, _EVERYBODY = 1, 0x0800, 1, 2, b"\xff" * 6
_SOLICITATION_WORDS = struct.Struct("!B7x16sBB6s")
_SOLICITATION, _ADVERTISEMENT, _SOURCE_MAC, _IS_ANSWER = 135, 136, 1, 0x40
_SOLICITED = int(IPv6Address("ff02::1:ff00:0"))
_NEVER_FORWARDED = 255  # RFC 4861, 7.1.1: one that came through a router does not count


def ways_out(port: str) -> tuple[str, ...]:
    """The gateways of all default routes over the interface, also those that a router advertised. Raises LinkError."""
    index = index_of(port)
    try:
        with IPRoute() as route:
            found = [
                gateway
                for family in (socket.AF_INET, socket.AF_INET6)
                for message in route.get_routes(family=family)
                if message["dst_len"] == 0 and message["type"] == _UNICAST
                for out, gateway in _hops(message)
                if out == index and gateway
            ]
    except (NetlinkError, OSError) as exc:
        raise LinkError(f"default routes over {port}: {exc}") from exc
    return tuple(dict.fromkeys(found))


def known_neighbours(port: str) -> tuple[str, ...]:
    """Whom the host knows at the interface: at most eight, whom it heard last first. Raises LinkError."""
    index = index_of(port)
    found: list[tuple[int, str]] = []
    try:
        with IPRoute() as route:
            for family in (socket.AF_INET, socket.AF_INET6):
                for message in route.get_neighbours(family=family, ifindex=index):
                    if message["state"] & _KNOWN:
                        times = message.get_attr("NDA_CACHEINFO")
                        found.append((times["ndm_confirmed"], message.get_attr("NDA_DST")))
    except (NetlinkError, OSError) as exc:
        raise LinkError(f"neighbours at {port}: {exc}") from exc
    return tuple(address for _, address in sorted(found)[:_MOST_KNOWN])


def answering(addresses: Collection[str], port: str) -> set[str]:
    """Those of them that answer at the interface now: all are asked at once, again and again, for a second at most."""
    silent: dict[Address, str] = {ip_address(each): each for each in addresses}
    heard: set[str] = set()
    deadline = time.monotonic() + _ANSWER_SECONDS
    with ExitStack() as stack:
        askers = _askers({each.version for each in silent}, port, stack)
        while silent and (now := time.monotonic()) < deadline:
            _ask(askers, silent)
            for each in _hear(askers, min(deadline, now + _AGAIN_SECONDS)):
                if each in silent:
                    heard.add(silent.pop(each))
                if not silent:
                    break
    return heard


class _Asker(Protocol):
    """A way of asking for the addresses of one family, by a socket."""

    def ask(self, address: Address) -> None:
        """Raises OSError."""

    def hear(self) -> Address | None:
        """Whose answer to us has come; None for anything else. Raises OSError."""

    def fileno(self) -> int: ...


class _ByArp:
    """At an Ethernet interface."""

    def __init__(self, port: str, stack: ExitStack) -> None:
        self._port = port
        self._socket = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0))
        self._socket.bind((port, _ARP))
        self._mac: bytes = self._socket.getsockname()[4]
        self.fileno = self._socket.fileno

    def ask(self, address: Address) -> None:
        words = (_ETHERNET, _IPV4, 6, 4, _REQUEST, self._mac, self._source(address), bytes(6), address.packed)
        self._socket.sendto(_ARP_WORDS.pack(*words), (self._port, _ARP, 0, 0, _EVERYBODY))

    def hear(self) -> Address | None:
        words = self._socket.recv(_LONGEST)
        if len(words) < _ARP_WORDS.size:
            return None
        _, _, _, _, operation, _, sender, asker, _ = _ARP_WORDS.unpack_from(words)
        return IPv4Address(sender) if operation == _REPLY and asker == self._mac else None

    def _source(self, address: Address) -> bytes:
        """The address that the kernel would send from; nothing is sent."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._port.encode())
            trial.connect((str(address), _DISCARD))
            return socket.inet_aton(trial.getsockname()[0])


class _BySolicitation:
    """At an Ethernet interface too. The kernel adds the checksum, and chooses among the addresses there."""

    def __init__(self, port: str, stack: ExitStack) -> None:
        self._index = index_of(port)
        mac = (Path("/sys/class/net") / port / "address").read_text().strip()
        self._mac = bytes.fromhex(mac.replace(":", ""))
        self._socket = stack.enter_context(
            socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, port.encode())
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _NEVER_FORWARDED)
        self.fileno = self._socket.fileno

    def ask(self, address: Address) -> None:
        group = IPv6Address(_SOLICITED | int(address) & 0xFFFFFF)
        words = _SOLICITATION_WORDS.pack(_SOLICITATION, address.packed, _SOURCE_MAC, 1, self._mac)
        self._socket.sendto(words, (str(group), 0, 0, self._index))

    def hear(self) -> Address | None:
        words = self._socket.recv(_LONGEST)
        is_answer = len(words) >= 24 and words[0] == _ADVERTISEMENT and words[4] & _IS_ANSWER
        return IPv6Address(words[8:24]) if is_answer else None


def _askers(versions: Collection[int], port: str, stack: ExitStack) -> dict[int, _Asker]:
    """By the version of IP; without one where the interface is not there, or the host does not have the family."""
    askers: dict[int, _Asker] = {}
    for version, way in ((4, _ByArp), (6, _BySolicitation)):
        if version in versions:
            with suppress(OSError):
                askers[version] = way(port, stack)
    return askers


def _ask(askers: dict[int, _Asker], whom: Collection[Address]) -> None:
    for each in whom:
        if each.version in askers:
            with suppress(OSError):  # no address of ours to ask from yet
                askers[each.version].ask(each)


def _hear(askers: dict[int, _Asker], until: float) -> Iterator[Address]:
    """Whose answers come until then."""
    with selectors.DefaultSelector() as selector:
        for asker in askers.values():
            selector.register(asker, selectors.EVENT_READ, asker)
        while (left := until - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                with suppress(OSError):  # the interface went
                    whose = key.data.hear()
                    if whose is not None:
                        yield whose


def _hops(message: Any) -> Iterator[tuple[int, str | None]]:
    """Over which interface a route goes and through whom; one with several ways has more."""
    yield message.get_attr("RTA_OIF"), message.get_attr("RTA_GATEWAY")
    for hop in message.get_attr("RTA_MULTIPATH") or ():
        yield hop["oif"], hop.get_attr("RTA_GATEWAY")
