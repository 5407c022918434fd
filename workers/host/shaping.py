"""How fast a card may be: token buckets of the kernel's traffic control, by netlink (pyroute2; tc(8), tc-tbf(8), tc-mirred(8)).

What goes to the machine leaves the host by the card's tap, so the bucket is there. What comes from it has no queue of
its own: it is led through a device that has one (ifb) and comes out of it as if it had just come from the tap, so that
the bridge and its rules see no difference. The tap's bucket goes with the tap, the ifb has to be removed.
"""

from __future__ import annotations

import ctypes
import socket
import threading
from collections.abc import Callable
from errno import EINVAL, ENODEV, ENOENT
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.host import BANDWIDTH_IN_FEATURE, BANDWIDTH_OUT_FEATURE
from workers.plan.shaping import bucket, waiting_name

# linux/pkt_sched.h
_ROOT, _INGRESS, _INGRESS_HANDLE = 0xFFFFFFFF, 0xFFFFFFF1, 0xFFFF0000
_BUCKET_HANDLE = 0x10000
_ALL_PROTOCOLS = 0x0003  # ETH_P_ALL
_NEW_NETWORK_NAMESPACE = 0x40000000  # CLONE_NEWNET
_GONE = (ENOENT, ENODEV, EINVAL)
"""How the kernel says that there is no such queue: the standard one cannot be deleted either."""


class LimitError(OffshootError):
    """A limit could not be set; the detail has the kernel's words."""

    code = ErrorCode.LIMIT_FAILED


def limit_card(tap: str, *, mbit_in: int | None, mbit_out: int | None) -> None:
    """The tap's machine gets and sends no more than this, None being no limit; idempotent, at once. Raises LimitError."""
    index = _index(tap)
    if index is None:
        raise LimitError(f"{tap} is not there")
    try:
        with IPRoute() as route:
            if mbit_in is None:
                _delete(route, index, _ROOT)
            else:
                _set_bucket(route, index, mbit_in)
            if mbit_out is None:
                _delete(route, index, _INGRESS)
                _remove(route, waiting_name(tap))
            else:
                _set_bucket_behind(route, tap, index, mbit_out)
    except (NetlinkError, OSError) as exc:
        raise LimitError(f"{tap}: {exc}") from exc


def forget_card(tap: str) -> None:
    """What would outlive the tap is gone; does nothing where there is nothing. Raises LimitError."""
    if _index(waiting_name(tap)) is None:
        return
    try:
        with IPRoute() as route:
            _remove(route, waiting_name(tap))
    except (NetlinkError, OSError) as exc:
        raise LimitError(f"{waiting_name(tap)}: {exc}") from exc


def missing_for_limits() -> tuple[str, ...]:
    """What this kernel cannot limit, really tried, in a network namespace that goes at once."""
    missing: list[str] = []
    trial = threading.Thread(target=lambda: missing.extend(_missing_in_a_namespace()), name="shaping trial")
    trial.start()
    trial.join()
    return tuple(missing)


def _missing_in_a_namespace() -> list[str]:
    """Only this thread is in the namespace, which ends with it (unshare(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NETWORK_NAMESPACE) != 0:
        return [BANDWIDTH_IN_FEATURE, BANDWIDTH_OUT_FEATURE]
    with IPRoute() as route:
        trials: dict[str, Callable[[], None]] = {
            BANDWIDTH_IN_FEATURE: lambda: _set_bucket(route, socket.if_nametoindex("lo"), 1),
            BANDWIDTH_OUT_FEATURE: lambda: _set_bucket_behind(route, "lo", socket.if_nametoindex("lo"), 1),
        }
        missing = []
        for feature, trial in trials.items():
            try:
                trial()
            except (NetlinkError, OSError):
                missing.append(feature)
    return missing


def _set_bucket(route: IPRoute, index: int, mbit: int) -> None:
    size = bucket(mbit)
    route.tc(
        "replace", "tbf", index, _BUCKET_HANDLE, rate=size.rate, burst=size.burst, limit=size.queue
    )  # one that is there is changed in place, with what waits in it


def _set_bucket_behind(route: IPRoute, tap: str, index: int, mbit: int) -> None:
    """The bucket first, then the way into it: begun anew, since each `replace` of a filter would add one."""
    name = waiting_name(tap)
    waiting = _index(name)
    if waiting is None:
        route.link("add", ifname=name, kind="ifb")
        waiting = socket.if_nametoindex(name)
    ipv6 = Path("/proc/sys/net/ipv6/conf") / name / "disable_ipv6"
    if ipv6.exists():
        ipv6.write_text("1")
    _set_bucket(route, waiting, mbit)
    route.link("set", index=waiting, state="up")
    _delete(route, index, _INGRESS)
    route.tc("add", "ingress", index, _INGRESS_HANDLE)
    route.tc(
        "add-filter",
        "u32",
        index,
        parent=_INGRESS_HANDLE,
        prio=1,
        protocol=_ALL_PROTOCOLS,
        target=0x10000,
        keys=["0x0/0x0+0"],  # everything
        action={"kind": "mirred", "direction": "egress", "action": "redirect", "ifindex": waiting},
    )


def _delete(route: IPRoute, index: int, parent: int) -> None:
    """Take away a queue of ours, where there is one."""
    kinds = {(message["parent"], message.get_attr("TCA_KIND")) for message in route.get_qdiscs(index=index)}
    if (parent, "tbf" if parent == _ROOT else "ingress") not in kinds:
        return
    try:
        route.tc("del", index=index, parent=parent)
    except NetlinkError as exc:
        if exc.code not in _GONE:
            raise


def _remove(route: IPRoute, name: str) -> None:
    index = _index(name)
    if index is None:
        return
    try:
        route.link("del", index=index)
    except NetlinkError as exc:
        if exc.code not in _GONE:
            raise


def _index(name: str) -> int | None:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return None
