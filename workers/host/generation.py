"""The number that the kernel gives the state of all nftables rules: it changes with every change, whoever makes it.

Source: linux/netfilter/nf_tables.h, NFT_MSG_GETGEN.
"""

from __future__ import annotations

from pathlib import Path

from workers.host.nfnetlink import Kind, NetlinkError, asked, attributes, connection

_ID = 1


def generation() -> int | None:
    """The number now, of this network namespace; None where the kernel does not say."""
    try:
        with connection() as link:
            said = dict(attributes(asked(link, Kind.GET_GENERATION)))
    except NetlinkError:
        return None
    return int.from_bytes(said[_ID], "big") if _ID in said else None


def namespace() -> str:
    """Which rules the number is about: this boot of the host, this network namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/thread-self/ns/net').stat().st_ino}"
