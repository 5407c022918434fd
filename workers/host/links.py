"""Bridges and taps: the only place that speaks netlink (pyroute2) and opens /dev/net/tun."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from workers.contract.errors import ErrorCode, OffshootError

# linux/if_tun.h
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000


class LinkError(OffshootError):
    """A bridge or a tap could not be made or removed; the detail has the kernel's words."""

    code = ErrorCode.BRIDGE_FAILED


def ensure_bridge(name: str, *, mac: str, address: IPv4Interface) -> None:
    """The bridge is there, up, with this MAC and this address. Does nothing where it is so already.

    Raises LinkError with code SUBNET_TAKEN where another interface of the host has an address in the subnet.
    """
    with IPRoute() as route:
        try:
            index = _index(name)
            lacks_address = index is None or str(address) not in _addresses(route, index)
            if lacks_address:
                _refuse_overlap(route, name, address.network)
            if index is None:
                route.link("add", ifname=name, kind="bridge", address=mac, br_stp_state=0)
                index = _index(name)
            # No IPv6 on the host's side of a NAT network: guests would reach the host by its link-local address.
            _sysctl(f"net/ipv6/conf/{name}/disable_ipv6", "1")
            route.link("set", index=index, state="up")
            if lacks_address:
                broadcast = str(address.network.broadcast_address)
                route.addr(
                    "add",
                    index=index,
                    address=str(address.ip),
                    prefixlen=address.network.prefixlen,
                    broadcast=broadcast,
                )
        except NetlinkError as exc:
            raise LinkError(f"bridge {name}: {exc}") from exc


def remove_bridge(name: str) -> None:
    """The bridge is gone, with its address. Does nothing where it was not there."""
    with IPRoute() as route:
        index = _index(name)
        if index is not None:
            try:
                route.link("del", index=index)
            except NetlinkError as exc:
                raise LinkError(f"bridge {name}: {exc}") from exc


def open_tap(name: str, *, bridge: str, mac: str, virtio_header: bool) -> int:
    """A new tap as a port of the bridge, as an open descriptor that qemu inherits.

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
        _sysctl(f"net/ipv6/conf/{name}/disable_ipv6", "1")
        with IPRoute() as route:
            index = _index(name)
            route.link("set", index=index, address=mac, master=_index(bridge))
            route.link("set", index=index, state="up")
    except (OSError, NetlinkError) as exc:
        os.close(descriptor)
        raise LinkError(f"tap {name}: {exc}", code=ErrorCode.TAP_FAILED) from exc
    return descriptor


def link_exists(name: str) -> bool:
    """An interface of this name is there."""
    return (Path("/sys/class/net") / name).exists()


def _index(name: str) -> int | None:
    """if_nametoindex(3): one call, where netlink's lookup would dump every interface of the host."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return None


def _addresses(route: IPRoute, index: int) -> set[str]:
    messages = route.get_addr(index=index, family=2)
    return {f"{message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}" for message in messages}


def _refuse_overlap(route: IPRoute, name: str, subnet: IPv4Network) -> None:
    for message in route.get_addr(family=2):
        label = message.get_attr("IFA_LABEL")
        if label == name:
            continue
        other = IPv4Interface(f"{message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}").network
        if other.overlaps(subnet):
            raise LinkError(
                f"{label} of this host has an address in {other}, which overlaps {subnet}",
                code=ErrorCode.SUBNET_TAKEN,
            )


def _sysctl(name: str, value: str) -> None:
    path = Path("/proc/sys") / name
    if path.exists() and path.read_text().strip() != value:
        path.write_text(value)
