"""Our own nftables tables: changed where networks and cards changed, replaced whole where they are not what they should be.

Each change is one transaction: the rules before are in force until those after are. Foreign rules are never touched.
"""

from __future__ import annotations

import errno
import functools
import shlex
import socket
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.networks import Protocol, PublishedPort
from workers.host.commands import run
from workers.host.committing import put
from workers.host.fingerprint import fingerprint
from workers.host.generation import generation
from workers.host.nfnetlink import NetlinkError
from workers.host.rules_in_force import RulesInForce
from workers.host.translated import translated
from workers.plan.network import WiredNetwork
from workers.plan.rulesets.changes import change_of, differing, whole
from workers.plan.rulesets.listing import LISTINGS, Listing, comparable
from workers.plan.rulesets.parts import TABLE, Part, Parts
from workers.plan.rulesets.wanted import parts_of

_MOST_PARTS = 64
_WHOLE_SECONDS = 180
"""A thousand machines take nft some ten seconds on a busy host."""

log = structlog.get_logger()

_LISTED = " && ".join(["nft -f -", *(shlex.join(argv) for argv in LISTINGS)])
"""For a shell in a namespace of its own; nothing of it comes from outside."""


@dataclass(frozen=True)
class _Verified:
    """Which rules were last seen to be right, and the kernel's generation then, or the newest at which they were the same."""

    parts: dict[str, Part]
    generation: int
    fingerprint: bytes | None = None


_verified: dict[Path, _Verified] = {}


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
        differs = differing(before, wanted)
        if not differs and is_in_force(folder, networks):
            return
        journal.begin()
        at = generation()
        if differs and _put(differs):
            journal.changed(before, wanted)
            _changed_from(folder, before, wanted, at)
            return
    _replace(journal, wanted)


def apply_whole(folder: Path, networks: Sequence[WiredNetwork]) -> None:
    """The same, whatever the kernel holds of ours now. What was known of flows is gone with it. Raises FirewallError."""
    _replace(_journal(folder), parts_of(networks))


def is_in_force(folder: Path, networks: Sequence[WiredNetwork]) -> bool:
    """Our tables in the kernel are what these networks need: no rule, chain or element missing, changed or added.

    While nobody changes any rule of the host this costs one question to the kernel; where somebody changed rules of his own, as
    many more as it takes to see that ours are the same; else a listing of our tables.
    """
    parts = parts_of(networks)
    at = generation()
    known = _verified.get(folder)
    if at is not None and known is not None and known.parts == parts and _is_as_it_was(folder, known, at):
        return True
    if _in_kernel() != (_expected(whole(parts)) if parts else {}):
        return False
    _remember(folder, parts, at)
    return True


def _is_as_it_was(folder: Path, known: _Verified, at: int) -> bool:
    """The kernel holds what it held when our rules were seen to be right; `at` is its generation now."""
    if known.generation == at:
        if known.fingerprint is None:  # they were changed by us since: what they look like is not known yet
            _remember(folder, known.parts, at)
        return True
    if known.fingerprint is None or known.fingerprint != fingerprint() or generation() != at:
        return False
    _verified[folder] = replace(known, generation=at)
    return True


def _remember(folder: Path, parts: dict[str, Part], at: int | None) -> None:
    """The rules were right at this generation; what they look like counts only if nobody changed any meanwhile."""
    looks = fingerprint()
    if at is not None:
        _verified[folder] = _Verified(parts, at, looks if generation() == at else None)


def _changed_from(folder: Path, before: Parts, wanted: dict[str, Part], at: int | None) -> None:
    """We have just changed right rules: they are right still if that was the only change of any rule since `at`."""
    known = _verified.get(folder)
    if known is None or at is None or (known.parts, known.generation) != (before, at):
        return
    if generation() == _following(at):
        _verified[folder] = _Verified(wanted, _following(at))


def _following(number: int) -> int:
    """The kernel's next generation: 32 bits, never 0 (nf_tables_api.c, nf_tables_commit)."""
    return number + 1 & 0xFFFFFFFF or 1


def ports_in_use(ports: Iterable[PublishedPort]) -> tuple[PublishedPort, ...]:
    """Those at which a program of this host listens already: it would not be reached from outside any more."""
    return tuple(port for port in ports if _is_in_use(port))


def _put(differs: Mapping[str, tuple[Part, Part]]) -> bool:
    """Bring these parts into force; False where the kernel or nft refuses, or they are so many that nft is as quick."""
    if len(differs) > _MOST_PARTS:
        return False
    try:
        made = translated({name: new for name, (_, new) in differs.items() if new != Part()})
        put(change_of(differs), made)
    except (NetlinkError, OffshootError, KeyError, OSError, BrokenExecutor) as exc:
        log.warning("rules not changed in part", detail=str(exc))
        return False
    return True


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
