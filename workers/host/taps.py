"""Taps of machines and what they are as ports of a bridge: made by /dev/net/tun and netlink (pyroute2), looked at in /sys.

A bridge learns from a port whose frames it takes, and takes those to a link-local group (01:80:c2:00:00:0x) before any rule
of nftables sees them (linux: net/bridge/br_input.c). So no bridge learns from a tap: it is told the one MAC that is there,
which no other port can take over (bridge(8): learning, static, sticky). Nor can a machine make itself the root of a
spanning tree (root_block).
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from workers.contract.errors import ErrorCode
from workers.host.links import LinkError, index_of, is_up, master_of, read_fact, set_sysctl

_SYS = Path("/sys/class/net")
# linux/if_tun.h
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
# linux/neighbour.h
_NTF_MASTER, _NTF_STICKY, _NUD_REACHABLE, _NUD_NOARP = 0x04, 0x40, 0x02, 0x40
_ENTRY = struct.Struct(
    "6sBBIBBH"
)  # linux/if_bridge.h, __fdb_entry: MAC, port, is local, age, port's high byte, padding


def open_tap(name: str, *, bridge: str, mac: str, guest_mac: str, virtio_header: bool) -> int:
    """A new tap as a port of the bridge, as an open descriptor that qemu inherits. `mac` is the tap's own.

    The tap lives as long as the descriptor: it goes with qemu, however qemu ends (kernel: tuntap.rst).
    Raises LinkError with code TAP_FAILED.
    """
    flags = _IFF_TAP | _IFF_NO_PI | (_IFF_VNET_HDR if virtio_header else 0)
    try:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        raise LinkError(f"/dev/net/tun: {exc.strerror}", code=ErrorCode.TAP_FAILED) from exc
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        set_sysctl(f"net/ipv6/conf/{name}/disable_ipv6", "1")
        with IPRoute() as route:
            # As large as the bridge's: it would take on the smallest of its ports'.
            mtu = int(read_fact(bridge, "mtu") or 1500)
            route.link("set", index=index_of(name), address=mac, mtu=mtu)
            _plug(route, name, bridge, guest_mac)
    except (OSError, NetlinkError) as exc:
        os.close(descriptor)
        raise LinkError(f"tap {name}: {exc}", code=ErrorCode.TAP_FAILED) from exc
    return descriptor


def plug_tap(name: str, *, bridge: str, guest_mac: str) -> None:
    """A tap that is there is a port of the bridge as it should be, and up. Raises LinkError with code TAP_FAILED."""
    try:
        with IPRoute() as route:
            _plug(route, name, bridge, guest_mac)
    except (OSError, NetlinkError) as exc:
        raise LinkError(f"tap {name}: {exc}", code=ErrorCode.TAP_FAILED) from exc


def is_plugged(name: str, *, bridge: str, guest_mac: str, told: Mapping[str, int]) -> bool:
    """The tap is a port of this bridge as it should be, and up; `told` is what `ports_by_mac` says of the bridge."""
    if master_of(name) != bridge or not is_up(name) or read_fact(name, "brport/learning") != "0":
        return False
    return told.get(guest_mac) == int(read_fact(name, "brport/port_no") or "0", 16)


def ports_by_mac(bridge: str) -> dict[str, int]:
    """The port behind which the bridge believes each MAC to be. One read; empty where there is no such bridge."""
    try:
        table = (_SYS / bridge / "brforward").read_bytes()
    except OSError:
        return {}
    return {mac.hex(":"): low | high << 8 for mac, low, _local, _age, high, _, _ in _ENTRY.iter_unpack(table)}


def _plug(route: IPRoute, name: str, bridge: str, guest_mac: str) -> None:
    index = socket.if_nametoindex(name)
    route.link("set", index=index, master=index_of(bridge))
    route.brport("set", index=index, learning=0, protect=1)
    route.fdb(
        "replace",
        ifindex=index,
        lladdr=guest_mac,
        flags=_NTF_MASTER | _NTF_STICKY,
        state=_NUD_NOARP | _NUD_REACHABLE,
    )
    route.link("set", index=index, state="up")
