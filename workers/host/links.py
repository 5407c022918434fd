"""Bridges and other interfaces: made and put right by netlink (pyroute2), looked at in /sys."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_interface
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from workers.contract.errors import ErrorCode, OffshootError
from workers.plan.names import is_ours

Interface = IPv4Interface | IPv6Interface

_SYS = Path("/sys/class/net")
_IFA_F_NODAD = 0x02  # linux/if_addr.h


class LinkError(OffshootError):
    """A bridge or a tap could not be made or removed; the detail has the kernel's words."""

    code = ErrorCode.BRIDGE_FAILED


def ensure_bridge(
    name: str, *, mac: str, address: IPv4Interface, address6: IPv6Interface | None = None
) -> None:
    """The bridge is there, up, with this MAC and exactly these addresses. Does nothing where it is so already.

    Without `address6` it has no IPv6 at all, not even a link-local address. Raises LinkError with code SUBNET_TAKEN where
    another interface of the host has an address in the subnet.
    """
    wanted = {each for each in (address, address6) if each is not None}
    with IPRoute() as route:
        try:
            index = _index(name)
            present = _addresses(route, index) if index is not None else set()
            for lacking in wanted - present:
                _refuse_overlap(route, index, lacking.network)
            if index is None:
                route.link("add", ifname=name, kind="bridge", address=mac, br_stp_state=0)
                index = _index(name)
            _set_ipv6(name, wanted=address6 is not None)
            route.link("set", index=index, state="up")
            for surplus in present - wanted:
                if surplus.version == 4 or address6 is not None:  # those of IPv6 have gone with it
                    route.addr(
                        "del", index=index, address=str(surplus.ip), prefixlen=surplus.network.prefixlen
                    )
            for lacking in sorted(wanted - present, key=lambda each: each.version):
                fields: dict[str, Any] = (
                    {"broadcast": str(lacking.network.broadcast_address)}
                    if lacking.version == 4
                    else {"flags": _IFA_F_NODAD}  # ours from the start: nobody else is in the subnet yet
                )
                route.addr(
                    "add", index=index, address=str(lacking.ip), prefixlen=lacking.network.prefixlen, **fields
                )
        except NetlinkError as exc:
            raise LinkError(f"bridge {name}: {exc}") from exc


def bridge_is_right(
    name: str, *, mac: str, addresses: Iterable[Interface], present: Mapping[int, set[Interface]]
) -> bool:
    """The bridge is as ensure_bridge makes it; `present` comes from all_addresses. Cheap."""
    index = _index(name)
    if index is None or not is_bridge(name) or read_fact(name, "address") != mac or not is_up(name):
        return False
    return present.get(index, set()) == set(addresses)


def all_addresses() -> dict[int, set[Interface]]:
    """The addresses of every interface by its index, link-local ones left out. Raises LinkError."""
    found: dict[int, set[Interface]] = {}
    try:
        with IPRoute() as route:
            for message in route.get_addr():
                each = _interface(message)
                if not each.ip.is_link_local:
                    found.setdefault(message["index"], set()).add(each)
    except NetlinkError as exc:
        raise LinkError(f"addresses: {exc}") from exc
    return found


def require_bridge(name: str) -> None:
    """A bridge of the host's own with this name is there. Raises LinkError with code BRIDGE_MISSING."""
    if is_ours(name) or not is_bridge(name):
        there = "is no bridge of the host's own" if link_exists(name) else "is not there"
        raise LinkError(f"{name!r} {there}", code=ErrorCode.BRIDGE_MISSING)


def master_of(name: str) -> str:
    """Whose port the interface is; empty where nobody's."""
    try:
        return (_SYS / name / "master").readlink().name
    except OSError:
        return ""


def ports_of(bridge: str) -> tuple[str, ...]:
    """The interfaces that are plugged into a bridge."""
    try:
        return tuple(sorted(path.name for path in (_SYS / bridge / "brif").iterdir()))
    except OSError:
        return ()


def is_up(name: str) -> bool:
    """Somebody has switched the interface on (IFF_UP of linux/if.h)."""
    flags = read_fact(name, "flags")
    return bool(flags and int(flags, 16) & 1)


def is_bridge(name: str) -> bool:
    """An interface of this name is there, and it is a bridge."""
    return (_SYS / name / "bridge").is_dir()


def index_of(name: str) -> int:
    """The kernel's number of the interface, 0 where there is none: another one each time it is made."""
    return _index(name) or 0


def remove_bridge(name: str) -> None:
    """The bridge is gone, with its address. Does nothing where it was not there."""
    with IPRoute() as route:
        index = _index(name)
        if index is not None:
            try:
                route.link("del", index=index)
            except NetlinkError as exc:
                raise LinkError(f"bridge {name}: {exc}") from exc


def link_exists(name: str) -> bool:
    """An interface of this name is there."""
    return (_SYS / name).exists()


def _index(name: str) -> int | None:
    """if_nametoindex(3): one call, where netlink's lookup would dump every interface of the host."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return None


def _addresses(route: IPRoute, index: int) -> set[Interface]:
    found = {_interface(message) for message in route.get_addr(index=index)}
    return {each for each in found if not each.ip.is_link_local}


def _interface(message: Any) -> Interface:
    return ip_interface(f"{message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}")


def _refuse_overlap(route: IPRoute, index: int | None, subnet: IPv4Network | IPv6Network) -> None:
    for message in route.get_addr(family=socket.AF_INET if subnet.version == 4 else socket.AF_INET6):
        if message["index"] == index:
            continue
        other = _interface(message).network
        if other.version == subnet.version and other.overlaps(subnet):
            name = socket.if_indextoname(message["index"])
            raise LinkError(
                f"{name} of this host has an address in {other}, which overlaps {subnet}",
                code=ErrorCode.SUBNET_TAKEN,
            )


def _set_ipv6(name: str, *, wanted: bool) -> None:
    """Switch IPv6 of a bridge of ours on or off. A router itself, it listens to none, nor does it ask for its addresses."""
    if wanted:
        set_sysctl(f"net/ipv6/conf/{name}/accept_ra", "0")
        set_sysctl(f"net/ipv6/conf/{name}/accept_dad", "0")
    # Off where machines have none: they would reach the host by its link-local address.
    set_sysctl(f"net/ipv6/conf/{name}/disable_ipv6", "0" if wanted else "1")


def read_fact(name: str, what: str) -> str:
    """What /sys/class/net says of an interface; empty where that is not there."""
    try:
        return (_SYS / name / what).read_text().strip()
    except OSError:
        return ""


def set_sysctl(name: str, value: str) -> None:
    """A setting of the kernel below /proc/sys, written only where it is another."""
    path = Path("/proc/sys") / name
    if path.exists() and path.read_text().strip() != value:
        path.write_text(value)
