"""The host's own cards and bridges: which there are, and which a bridge can be made around."""

from __future__ import annotations

import re
import socket
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from workers.contract.host import InterfaceFacts
from workers.host import links
from workers.plan.names import is_ours

_SYS = Path("/sys/class/net")
_ETHERNET = 1  # linux/if_arp.h
_IFF_UP = 0x1  # linux/if.h
_FOREVER = 0xFFFFFFFF  # linux/if_addr.h: an address without an end
_CARDS = (None, "veth", "bond", "team", "vlan")
"""What counts as a card, by its kind in netlink (None: hardware). A container's own end of a veth lies in the container."""

_MANAGED = re.compile(r"docker\d+|br-[0-9a-f]{12}|virbr\d+|lxc(d)?br\d+|lxdbr\d+|incusbr\d+|podman\d+|cni\d+")
"""Bridges that another program manages for its containers or machines."""


def interface_facts(made: Collection[str]) -> tuple[InterfaceFacts, ...]:
    """The cards and bridges of the host's own; `made` are bridges that we made around cards. Raises LinkError."""
    try:
        with IPRoute() as route:
            all_links = {message["index"]: message for message in route.get_links()}
            addresses, leased = _addresses(route)
            defaults = _with_default_route(route)
    except NetlinkError as exc:
        raise links.LinkError(f"interfaces: {exc}") from exc
    names = {index: str(message.get_attr("IFLA_IFNAME")) for index, message in all_links.items()}
    masters = {
        index: names.get(message.get_attr("IFLA_MASTER") or 0, "") for index, message in all_links.items()
    }
    facts = []
    for index, message in all_links.items():
        name, kind = names[index], _kind(message)
        managed = any(_MANAGED.fullmatch(each) and each not in made for each in (name, masters[index]))
        if is_ours(name) or managed or message["ifi_type"] != _ETHERNET or kind not in (*_CARDS, "bridge"):
            continue
        facts.append(
            InterfaceFacts(
                name=name,
                is_bridge=kind == "bridge",
                mac=message.get_attr("IFLA_ADDRESS") or "",
                is_up=bool(message["flags"] & _IFF_UP),
                addresses=tuple(addresses.get(index, ())),
                has_default_route=index in defaults,
                ports=_ports(index, names, masters) if kind == "bridge" else (),
                bridge=masters[index],
                is_ours=name in made,
                is_leased=index in leased,
            )
        )
    return tuple(sorted(facts, key=lambda each: each.name))


def why_no_bridge(card: str, bridge: str) -> str:
    """Why no bridge can be made around this card, as a sentence; empty where one can. Raises LinkError."""
    if not links.link_exists(card):
        return f"This host has no card {card}."
    if (_SYS / card / "type").read_text().strip() != str(_ETHERNET) or is_ours(card):
        return f"{card} is no network card of the host's own."
    if links.is_bridge(card):
        return f"{card} is a bridge itself: choose it as it is."
    master = links.master_of(card)
    if master:
        return f"{card} is a part of {master} already: choose {master}."
    if (_SYS / card / "wireless").exists() or (_SYS / card / "phy80211").exists():
        return f"{card} is wireless, and an access point takes frames of the host's own address only: use a cable."
    if card not in {each.name for each in interface_facts(())}:
        return f"{card} is a virtual interface that cannot be in a bridge."
    above = what_stands_on(card)
    if above:
        return f"{card} cannot be in a bridge: something else stands on it ({', '.join(above)})."
    if links.link_exists(bridge):
        return f"There is another interface called {bridge} already."
    return ""


def what_stands_on(card: str) -> tuple[str, ...]:
    """Interfaces of this namespace that take the card's frames before a bridge would: a macvlan, ipvlan, macsec.

    A VLAN takes its own frames only, and goes on doing so at a port of a bridge.
    """
    above = (each.name.removeprefix("upper_") for each in (_SYS / card).glob("upper_*"))
    return tuple(sorted(each for each in above if "DEVTYPE=vlan" not in _uevent(each)))


def _uevent(name: str) -> list[str]:
    try:
        return (_SYS / name / "uevent").read_text().splitlines()
    except OSError:
        return []


def _kind(message: Any) -> str | None:
    info = message.get_attr("IFLA_LINKINFO")
    return info.get_attr("IFLA_INFO_KIND") if info is not None else None


def _addresses(route: IPRoute) -> tuple[dict[int, list[str]], set[int]]:
    """Those of each interface, and which have one of IPv4 that has an end: a DHCP client has brought it."""
    found: dict[int, list[str]] = {}
    leased: set[int] = set()
    for message in route.get_addr():
        address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        if message["scope"] == 0:  # RT_SCOPE_UNIVERSE
            found.setdefault(message["index"], []).append(f"{address}/{message['prefixlen']}")
            times = message.get_attr("IFA_CACHEINFO")
            if message["family"] == socket.AF_INET and times and times["ifa_valid"] != _FOREVER:
                leased.add(message["index"])
    return found, leased


def _with_default_route(route: IPRoute) -> set[int]:
    """Where the default routes go, also those with several ways."""
    found: set[int] = set()
    for message in route.get_default_routes():
        found.add(message.get_attr("RTA_OIF") or 0)
        found |= {hop["oif"] for hop in message.get_attr("RTA_MULTIPATH") or ()}
    return found


def _ports(index: int, names: dict[int, str], masters: dict[int, str]) -> tuple[str, ...]:
    """The ports of a bridge, without our taps."""
    mine: Iterable[str] = (names[each] for each, master in masters.items() if master == names[index])
    return tuple(sorted(name for name in mine if not is_ours(name)))
