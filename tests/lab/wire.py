"""Cables into a bridge of a host's namespace, with a hand at the other end that sends and hears whole frames.

The host's end of a cable bears the name of a tap, so that the rules of a machine's card are the rules of the cable.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TypeVar

from tests.lab.network import HostNetwork

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000
_ALL = 0x0003


def in_namespace(name: str, work: Callable[[], T]) -> T:
    """Do something in a network namespace: in a thread of its own, which enters it (setns(2))."""
    result: list[T] = []
    failed: list[BaseException] = []

    def enter() -> None:
        try:
            descriptor = os.open(Path("/run/netns") / name, os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            finally:
                os.close(descriptor)
            result.append(work())
        except BaseException as exc:  # handed to the caller
            failed.append(exc)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return result[0]


class Cable:
    """One end in the bridge, named as a tap; the other one free, in the same namespace."""

    def __init__(self, network: HostNetwork, bridge: str, tap: str) -> None:
        self._end = f"c{tap}"[:15]
        self._count = 0
        network.inside("ip", "link", "add", tap, "type", "veth", "peer", "name", self._end)
        for link in (tap, self._end):
            network.inside("sysctl", "-q", "-w", f"net.ipv6.conf.{link}.disable_ipv6=1")
            network.inside("ip", "link", "set", link, "up")
        network.inside("ip", "link", "set", tap, "master", bridge)
        self._socket = in_namespace(network.host, self._open)

    def _open(self) -> socket.socket:
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
        opened.bind((self._end, _ALL))
        opened.settimeout(10)
        return opened

    def send(self, frame: bytes) -> bytes:
        """Send a frame, with a mark of its own at the end of its contents; the mark."""
        self._count += 1
        mark = b"\xa5" + self._end.encode().ljust(15, b"_") + struct.pack("!I", self._count)
        self._socket.send(_with(frame, mark))
        return mark

    def heard(self, last: bytes) -> set[bytes]:
        """The marks of all frames that came until the one with the mark `last`. Raises TimeoutError."""
        marks: set[bytes] = set()
        while last not in marks:
            frame, (_, _, kind, *_) = self._socket.recvfrom(4096)
            if kind != socket.PACKET_OUTGOING and frame[-20:-19] == b"\xa5":
                marks.add(frame[-20:])
        return marks

    def close(self) -> None:
        """The socket; the cable goes with its namespace."""
        self._socket.close()


def ethernet(source: str, target: str, kind: int, body: bytes) -> bytes:
    """A frame."""
    return _mac(target) + _mac(source) + struct.pack("!H", kind) + body


def arp(mac: str, address: str, target: str, *, sender_mac: str | None = None, operation: int = 2) -> bytes:
    """An answer (or question) about addresses, from `mac`."""
    body = (
        struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
        + _mac(sender_mac or mac)
        + IPv4Address(address).packed
    )
    return ethernet(mac, "ff:ff:ff:ff:ff:ff", 0x0806, body + bytes(6) + IPv4Address(target).packed)


def packet(
    mac: str,
    to_mac: str,
    source: str,
    target: str,
    protocol: int,
    body: bytes,
    *,
    fragment: int = 0,
    hops: int = 255,
) -> bytes:
    """An IP packet of the family of its addresses; `fragment` is IPv4's field of flags and offset."""
    start, end = ip_address(source), ip_address(target)
    if isinstance(start, IPv6Address):
        head = struct.pack("!IHBB", 6 << 28, len(body), protocol, hops) + start.packed + end.packed
        return ethernet(mac, to_mac, 0x86DD, head + body)
    fields = (0x45, 0, 20 + len(body), 7, fragment, hops, protocol, 0)
    return ethernet(mac, to_mac, 0x0800, struct.pack("!BBHHHBBH", *fields) + start.packed + end.packed + body)


def udp(source: int, target: int) -> bytes:
    """A datagram with four bytes."""
    return struct.pack("!HHHH", source, target, 12, 0) + b"data"


def tcp(source: int, target: int, flags: int) -> bytes:
    """A segment without data."""
    return struct.pack("!HHIIBBHHH", source, target, 1, 1, 0x50, flags, 1024, 0, 0)


def icmp(kind: int, rest: bytes = bytes(24)) -> bytes:
    """A message of either ICMP."""
    return struct.pack("!BBH", kind, 0, 0) + rest


def _with(frame: bytes, mark: bytes) -> bytes:
    """The frame with the mark at its end; IP's lengths count it, since a bridge may cut off what they don't."""
    if frame[12:14] == b"\x08\x00":
        head = (
            frame[14:16]
            + struct.pack("!H", len(frame) - 14 + len(mark))
            + frame[18:24]
            + b"\0\0"
            + frame[26:34]
        )
        total = sum(struct.unpack("!10H", head))
        total = (total & 0xFFFF) + (total >> 16)
        check = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
        return frame[:14] + head[:10] + struct.pack("!H", check) + head[12:] + frame[34:] + mark
    if frame[12:14] == b"\x86\xdd":
        return frame[:18] + struct.pack("!H", len(frame) - 54 + len(mark)) + frame[20:] + mark
    return frame.ljust(60, b"\0") + mark


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
