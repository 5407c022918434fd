"""What an interface has as one thing that can move: its addresses and routes, by netlink (pyroute2), and its name servers.

What the kernel makes by itself stays out: link-local addresses, and what routers advertise, which the other interface hears
again. An IPv4 address that a DHCP client has brought counts as the host's own from then on: it has no end.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from workers.host.links import LinkError, index_of, set_sysctl
from workers.host.name_servers import lay_name_servers, read_name_servers

Layout = dict[str, Any]
"""`addresses` and `routes` as netlink fields, `ipv6` the interface's settings, `mac` and `mtu`, `name_servers` or None.

`hears_routers`: it has a default route that a router of IPv6 has told of, which is no part of it: the bridge hears it anew.
"""

# linux/if_addr.h, linux/rtnetlink.h
_TEMPORARY, _NODAD, _NOPREFIXROUTE, _PERMANENT = 0x01, 0x02, 0x200, 0x80
_LINK_SCOPE, _HOST_TABLE, _UNICAST, _BY_KERNEL, _BY_ROUTER, _ONLINK, _CACHED = 253, 255, 1, 2, 9, 0x4, 0x200
_FOREVER = 0xFFFFFFFF
_SETTINGS = (
    "disable_ipv6", "accept_ra", "autoconf", "use_tempaddr", "addr_gen_mode", "accept_ra_defrtr",
    "accept_ra_rt_info_max_plen",
)  # fmt: skip
_UNMOVABLE = ("RTA_MULTIPATH", "RTA_VIA", "RTA_ENCAP", "RTA_NH_ID")


def read_layout(name: str) -> Layout:
    """What the interface has now. Raises LinkError where it is not there, or has a route that could not be laid elsewhere."""
    index = index_of(name)
    if not index:
        raise LinkError(f"{name} is not there")
    link = Path("/sys/class/net") / name
    try:
        with IPRoute() as route:
            return {
                "mac": (link / "address").read_text().strip(),
                "mtu": int((link / "mtu").read_text()),
                "ipv6": _read_settings(name),
                "addresses": [field for m in route.get_addr(index=index) if (field := _address(m))],
                "routes": _routes(route, index, name),
                "name_servers": read_name_servers(name),
                "hears_routers": any(
                    message["proto"] == _BY_ROUTER and message.get_attr("RTA_OIF") == index
                    for message in route.get_default_routes(family=socket.AF_INET6)
                ),
            }
    except (NetlinkError, OSError) as exc:
        raise LinkError(f"{name}: {exc}") from exc


def lay(route: IPRoute, name: str, layout: Layout) -> None:
    """The interface has these addresses, routes and name servers, beside what it has. Does nothing twice.

    Where systemd-networkd sees to its name servers they stay what that has. Raises NetlinkError, OSError; LinkError where
    the name servers could not be told to systemd-resolved.
    """
    index = index_of(name)
    _write_settings(name, layout["ipv6"])
    no_ipv6 = layout["ipv6"].get("disable_ipv6") == "1"
    for fields in layout["addresses"]:
        if not (no_ipv6 and fields["family"] == socket.AF_INET6):
            route.addr("replace", index=index, **fields)
    # Those without a gateway first: the others' gateways are reached by them.
    for fields in sorted(layout["routes"], key=lambda each: "gateway" in each):
        if not (no_ipv6 and fields["family"] == socket.AF_INET6):
            route.route("replace", oif=index, **fields)
    lay_name_servers(name, layout.get("name_servers"))


def strip(route: IPRoute, name: str) -> None:
    """The interface has no addresses any more, and so no routes; no IPv6 at all. Raises NetlinkError, OSError."""
    _write_settings(name, {"disable_ipv6": "1"})
    route.flush_addr(index=index_of(name), family=socket.AF_INET)


def of_a_bridge(layout: Layout) -> Layout:
    """The same for the bridge around a card: the kernel hears routers there, also where a program does so at the card.

    systemd-networkd switches the kernel's own listening off, and knows nothing of the bridge.
    """
    if not layout.get("hears_routers") or layout["ipv6"].get("accept_ra") != "0":
        return layout
    return layout | {"ipv6": layout["ipv6"] | {"accept_ra": "2"}}


def bring_over(card: str, bridge: str) -> bool:
    """What a port of the bridge has of its own goes to the bridge; False where it has no address. Raises LinkError.

    An address that the bridge has already is only taken from the card. One that is good for the card alone does not count.
    """
    try:
        with IPRoute() as route:
            found = [_address(message) for message in route.get_addr(index=index_of(card))]
            if all(each is None or each["scope"] == _LINK_SCOPE for each in found):
                return False
            mine, there = read_layout(card), read_layout(bridge)
            lay(route, bridge, _lacking(mine, there))
            strip(route, card)
    except (NetlinkError, OSError) as exc:
        raise LinkError(f"what {card} has beside {bridge}: {exc}") from exc
    return True


def _gateways(layout: Layout) -> tuple[str, ...]:
    """Through whom the default routes go."""
    return tuple(each["gateway"] for each in layout["routes"] if "gateway" in each and "dst" not in each)


def lacks(layout: Layout, other: Layout) -> bool:
    """An address that stays, or a way out, of the other layout is not in this one; or that had name servers, this has none."""
    here = {each["local"] for each in layout["addresses"]}
    there = {each["local"] for each in other["addresses"] if "valid_lft" not in each}
    return (
        not there <= here
        or not set(_gateways(other)) <= set(_gateways(layout))
        or (other.get("name_servers") is not None and layout["name_servers"] is None)
    )


def _lacking(layout: Layout, there: Layout) -> Layout:
    """What of the layout has to be laid where that other one is; the kernel makes the routes of subnets by itself."""
    present = {each["local"] for each in there["addresses"]}
    return layout | {
        "ipv6": there["ipv6"],
        "addresses": [
            each | {"flags": each["flags"] & ~_NOPREFIXROUTE}
            for each in layout["addresses"]
            if each["local"] not in present and each["scope"] != _LINK_SCOPE
        ],
        "routes": [
            each for each in layout["routes"] if each["proto"] != _BY_KERNEL and each not in there["routes"]
        ],
        "name_servers": layout["name_servers"] if there["name_servers"] is None else None,
    }


def _address(message: Any) -> dict[str, Any] | None:
    """An address as fields for its addition; None for one that the kernel makes by itself."""
    flags = message.get_attr("IFA_FLAGS") or message["flags"]
    six = message["family"] == socket.AF_INET6
    if six and (message["scope"] == _LINK_SCOPE or flags & _TEMPORARY):
        return None
    local = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    fields = {
        "family": message["family"],
        "address": message.get_attr("IFA_ADDRESS"),
        "local": local,
        "prefixlen": message["prefixlen"],
        "scope": message["scope"],
        "flags": flags & _NOPREFIXROUTE | (_NODAD if six else 0),
    }
    for key, kind in (("broadcast", "IFA_BROADCAST"), ("rt_priority", "IFA_RT_PRIORITY")):
        if message.get_attr(kind):
            fields[key] = message.get_attr(kind)
    times = message.get_attr("IFA_CACHEINFO")
    if six and times and not flags & _PERMANENT and times["ifa_valid"] != _FOREVER:
        fields |= {"preferred_lft": times["ifa_preferred"], "valid_lft": times["ifa_valid"]}
    return fields


def _routes(route: IPRoute, index: int, name: str) -> list[dict[str, Any]]:
    found = []
    for family in (socket.AF_INET, socket.AF_INET6):
        for message in route.get_routes(family=family):
            hops = message.get_attr("RTA_MULTIPATH") or ()
            if index != message.get_attr("RTA_OIF") and not any(hop["oif"] == index for hop in hops):
                continue
            fields = _route(message)
            if fields is None:
                continue
            if any(message.get_attr(kind) for kind in _UNMOVABLE):
                raise LinkError(
                    f"{name} has a route that cannot be moved: one with several ways, or a tunnel"
                )
            found.append(fields)
    return found


def _route(message: Any) -> dict[str, Any] | None:
    table = message.get_attr("RTA_TABLE") or message["table"]
    target = message.get_attr("RTA_DST")
    is_kernels = (
        table == _HOST_TABLE
        or message["type"] != _UNICAST
        or message["proto"] == _BY_ROUTER
        or message["flags"] & _CACHED
        or (target is not None and ip_address(target).is_link_local)
    )
    if is_kernels:
        return None
    fields: dict[str, Any] = {
        "family": message["family"],
        "table": table,
        "proto": message["proto"],
        "scope": message["scope"],
        "tos": message["tos"],
        "flags": message["flags"] & _ONLINK,
    }
    if target is not None:
        fields["dst"] = f"{target}/{message['dst_len']}"
    for key, kind in (("gateway", "RTA_GATEWAY"), ("prefsrc", "RTA_PREFSRC"), ("priority", "RTA_PRIORITY")):
        if message.get_attr(kind) is not None:
            fields[key] = message.get_attr(kind)
    metrics = message.get_attr("RTA_METRICS")
    if metrics is not None:
        fields["metrics"] = {name.removeprefix("RTAX_").lower(): value for name, value in metrics["attrs"]}
    return fields


def _read_settings(name: str) -> dict[str, str]:
    folder = Path("/proc/sys/net/ipv6/conf") / name
    return {each: (folder / each).read_text().strip() for each in _SETTINGS if (folder / each).exists()}


def _write_settings(name: str, settings: dict[str, str]) -> None:
    """`disable_ipv6` last: what it switches on then follows the others."""
    for each, value in sorted(settings.items(), key=lambda pair: pair[0] == "disable_ipv6"):
        set_sysctl(f"net/ipv6/conf/{name}/{each}", value)
