"""The number that the kernel gives the state of all nftables rules: it changes with every change, whoever makes it.

Source: linux/netfilter/nf_tables.h, NFT_MSG_GETGEN.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path

_GET, _NEW, _ID = 10 << 8 | 16, 10 << 8 | 15, 1
_REQUEST = 1
_NETLINK_NETFILTER = 12


def generation() -> int | None:
    """The number now, of this network namespace; None where the kernel does not say."""
    try:
        with socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
        ) as link:
            link.settimeout(2)
            link.sendto(struct.pack("=IHHIIBBH", 20, _GET, _REQUEST, 1, 0, socket.AF_UNSPEC, 0, 0), (0, 0))
            answer = link.recv(4096)
    except OSError:
        return None
    if len(answer) < 20 or struct.unpack_from("=H", answer, 4)[0] != _NEW:
        return None
    at = 20
    while at + 4 <= len(answer):
        length, kind = struct.unpack_from("=HH", answer, at)
        if kind & 0x3FFF == _ID and length >= 8:
            return int(struct.unpack_from(">I", answer, at + 4)[0])
        at += max(4, (length + 3) & ~3)
    return None


def namespace() -> str:
    """Which rules the number is about: this boot of the host, this network namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/thread-self/ns/net').stat().st_ino}"
