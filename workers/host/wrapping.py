"""A bridge around a card, and the card alone again: each can be done from any state in between."""

from __future__ import annotations

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from workers.host.layouts import Layout, lay, of_a_bridge, strip
from workers.host.links import LinkError, index_of
from workers.killpoints import reached


def wrap(card: str, bridge: str, layout: Layout) -> None:
    """The card is a port of the bridge, which has its MAC and what `layout` says. Raises LinkError."""
    try:
        with IPRoute() as route:
            if not index_of(bridge):
                route.link("add", ifname=bridge, kind="bridge", address=layout["mac"], br_stp_state=0)
                route.link("set", index=index_of(bridge), mtu=layout["mtu"])
            # The card keeps its addresses until it is a port: what it sends meanwhile still leaves.
            route.link("set", index=index_of(card), master=index_of(bridge))
            route.link("set", index=index_of(card), state="up")
            reached("card in its bridge")
            strip(route, card)
            route.link("set", index=index_of(bridge), state="up")
            lay(route, bridge, of_a_bridge(layout))
    except (NetlinkError, OSError) as exc:
        raise LinkError(f"bridge {bridge} around {card}: {exc}") from exc


def unwrap(card: str, bridge: str, layout: Layout) -> None:
    """The bridge is gone, and the card has what `layout` says. Raises LinkError."""
    try:
        with IPRoute() as route:
            if index_of(bridge):
                route.link("del", index=index_of(bridge))
            route.link("set", index=index_of(card), state="up")
            lay(route, card, layout)
    except (NetlinkError, OSError) as exc:
        raise LinkError(f"{card} without {bridge}: {exc}") from exc
