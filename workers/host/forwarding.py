"""The host as a router: forwarding goes on with the first network that needs it, and off again with the last.

What we switched is noted before it is switched (`forwarding-was-off`, `forwarding6-was-off`), so that what the host had
switched on itself stays on. A host that forwards IPv6 stops listening to routers (kernel: ip-sysctl.rst, accept_ra): a
card that has the host's own default route from one is told to go on listening (2), else the host would lose it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from workers.contract.networks import NetworkKind, NetworkSpec
from workers.host.files import read_json, write_json
from workers.host.links import LinkError
from workers.killpoints import reached

_FOUR = Path("/proc/sys/net/ipv4/ip_forward")
_SIX = Path("/proc/sys/net/ipv6/conf/all/forwarding")
_CARDS = Path("/proc/sys/net/ipv6/conf")
_RTPROT_RA = 9  # linux/rtnetlink.h: a route out of a router advertisement


def match(folder: Path, networks: Iterable[NetworkSpec]) -> bool:
    """Forwarding is on where one of these networks needs it, else as the host had it; whether that changed anything.

    `folder` keeps the notes. Raises LinkError where the host's routes cannot be read.
    """
    leaving = [network for network in networks if network.kind is NetworkKind.NAT]
    four = _match_four(folder / "forwarding-was-off", wanted=bool(leaving))
    six = _match_six(folder / "forwarding6-was-off", wanted=any(each.subnet6 for each in leaving))
    return four or six


def _match_four(marker: Path, *, wanted: bool) -> bool:
    if wanted and not _on(_FOUR):
        marker.touch()
        _FOUR.write_text("1")
        return True
    if not wanted and marker.exists():
        _FOUR.write_text("0")
        marker.unlink()
        return True
    return False


def _match_six(marker: Path, *, wanted: bool) -> bool:
    if wanted and _SIX.exists() and not _on(_SIX):
        told = {card for card in _cards_with_a_router() if _accept_ra(card) == "1"}
        write_json(marker, sorted(told | set(read_json(marker) or ())))
        for card in told:
            (_CARDS / card / "accept_ra").write_text("2")
        reached("routers still heard")
        _SIX.write_text("1")
        return True
    if not wanted and marker.exists():
        _SIX.write_text("0")
        for card in read_json(marker) or ():
            if _accept_ra(card) == "2":
                (_CARDS / card / "accept_ra").write_text("1")
        marker.unlink()
        return True
    return False


def _on(switch: Path) -> bool:
    return switch.read_text().strip() != "0"


def _accept_ra(card: str) -> str:
    """The kernel's own setting; empty for a card that is gone."""
    try:
        return (_CARDS / card / "accept_ra").read_text().strip()
    except OSError:
        return ""


def _cards_with_a_router() -> set[str]:
    """Cards through which a default route goes that a router has advertised."""
    found = set()
    try:
        with IPRoute() as route:
            for message in route.get_default_routes(family=socket.AF_INET6):
                index = message.get_attr("RTA_OIF")
                if message["proto"] == _RTPROT_RA and index is not None:
                    found.add(socket.if_indextoname(index))
    except (NetlinkError, OSError) as exc:
        raise LinkError(f"routes: {exc}") from exc
    return found
