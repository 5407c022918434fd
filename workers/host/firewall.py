"""Our own nftables tables: changed where networks and cards changed, replaced whole where they are not what they should be.

Each change is one transaction of nft's: the rules before are in force until those after are. Foreign rules are never touched.
"""

from __future__ import annotations

import errno
import functools
import shlex
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.networks import Protocol, PublishedPort
from workers.host.commands import run
from workers.host.generation import generation
from workers.host.rules_in_force import RulesInForce
from workers.plan.network import WiredNetwork
from workers.plan.rulesets.listing import LISTINGS, Listing, comparable
from workers.plan.rulesets.parts import TABLE, Part, delta, whole
from workers.plan.rulesets.wanted import parts_of

_CHANGE_SECONDS = 20
_WHOLE_SECONDS = 180
"""A thousand machines take nft some ten seconds on a busy host."""

_LISTED = " && ".join(["nft -f -", *(shlex.join(argv) for argv in LISTINGS)])
"""For a shell in a namespace of its own; nothing of it comes from outside."""

_verified: dict[Path, tuple[int, dict[str, Part]]] = {}
"""The kernel's generation at which the rules were last seen to be right, and which those were."""


class FirewallError(OffshootError):
    """The rules were refused; those before are still in force."""

    code = ErrorCode.FIREWALL_FAILED


def apply(folder: Path, networks: Sequence[WiredNetwork]) -> None:
    """Put the rules of these networks, and no others, into force; `folder` is the networks' in the host's state.

    Only what changed since the last call is changed in the kernel, in a time that does not grow with the machines that are
    there; everything, where that is not known or is refused. To be called under the networks' lock. Raises FirewallError.
    """
    journal = _journal(folder)
    wanted, before = parts_of(networks), journal.known()
    if before and wanted:
        script = delta(before, wanted)
        if not script and is_in_force(folder, networks):
            return
        journal.begin()
        if script and run(("nft", "-f", "-"), stdin=script, seconds=_CHANGE_SECONDS, check=False).status == 0:
            journal.changed(before, wanted)
            return
    _replace(journal, wanted)


def apply_whole(folder: Path, networks: Sequence[WiredNetwork]) -> None:
    """The same, whatever the kernel holds of ours now. What was known of flows is gone with it. Raises FirewallError."""
    _replace(_journal(folder), parts_of(networks))


def is_in_force(folder: Path, networks: Sequence[WiredNetwork]) -> bool:
    """Our tables in the kernel are what these networks need: no rule, chain or element missing, changed or added.

    While nobody changes any rule of the host this costs one question to the kernel, else a listing of our tables.
    """
    parts = parts_of(networks)
    before = generation()
    if before is not None and _verified.get(folder) == (before, parts):
        return True
    right = _in_kernel() == (_expected(whole(parts)) if parts else {})
    if right and before is not None:
        _verified[folder] = (before, parts)
    return right


def ports_in_use(ports: Iterable[PublishedPort]) -> tuple[PublishedPort, ...]:
    """Those at which a program of this host listens already: it would not be reached from outside any more."""
    return tuple(port for port in ports if _is_in_use(port))


def _replace(journal: RulesInForce, wanted: dict[str, Part]) -> None:
    journal.begin()
    try:
        run(("nft", "-f", "-"), stdin=whole(wanted), seconds=_WHOLE_SECONDS)
    except OffshootError as exc:
        raise FirewallError(exc.detail) from exc
    journal.replaced(wanted)


def _in_kernel() -> Listing:
    """Our tables as they are; empty where there is none."""
    with ThreadPoolExecutor(max_workers=4) as several:
        listed = list(several.map(_listed, LISTINGS))
    if not all(listed):
        names = run(("nft", "list", "tables"), seconds=20).stdout.splitlines()
        return {name: () for name in names if name.endswith(f" {TABLE}")}
    return comparable("".join(listed))


def _listed(argv: Sequence[str]) -> str:
    """What nft lists; empty where it finds nothing of that name."""
    finished = run(argv, seconds=_WHOLE_SECONDS, check=False)
    return finished.stdout if finished.status == 0 else ""


@functools.lru_cache(maxsize=2)
def _expected(script: str) -> Listing:
    """What nft lists where this script alone is in force: asked in a network namespace that ends with the question."""
    argv = ("unshare", "--net", "sh", "-c", _LISTED)
    try:
        return comparable(run(argv, stdin=script, seconds=_WHOLE_SECONDS).stdout)
    except OffshootError as exc:
        raise FirewallError(exc.detail) from exc


@functools.cache
def _journal(folder: Path) -> RulesInForce:
    return RulesInForce(folder)


def _is_in_use(port: PublishedPort) -> bool:
    """Somebody listens there on any of the host's addresses (bind(2), EADDRINUSE)."""
    kind = socket.SOCK_STREAM if port.protocol is Protocol.TCP else socket.SOCK_DGRAM
    for family, anywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104
        try:
            with socket.socket(family, kind) as trial:
                if (
                    kind == socket.SOCK_STREAM
                ):  # connections that have ended do not count (ip(7), SO_REUSEADDR)
                    trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                trial.bind((anywhere, port.host_port))
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                return True
    return False
