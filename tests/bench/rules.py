"""One more machine's rules where 1, 10, 100 and 1,000 machines have theirs; a full check where 100 have.

By hand is plain `nft -f` of the very lines that the product gives nft for that machine.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from uuid import UUID

from tests.bench.table import Row, against_hand, no_slower, p95_under
from tests.lab.network import HostNetwork
from tests.lab.wire import in_namespace
from workers.contract.networks import Direction, FirewallRule, FirewallSpec, NetworkSpec, Protocol
from workers.host import firewall
from workers.plan.network import PluggedNic, WiredNetwork
from workers.plan.rulesets.changes import change_of, differing, script
from workers.plan.rulesets.wanted import parts_of

_NETWORK = NetworkSpec(id=UUID(int=77), subnet=IPv4Network("10.60.0.0/16"))
_RULE = FirewallRule(direction=Direction.IN, allow=True, protocol=Protocol.TCP, first_port=22, last_port=22)
_FIREWALL = FirewallSpec(allow_in=False, allow_out=True, rules=(_RULE,))


def measure(folder: Path, network: HostNetwork, repeats: int) -> list[Row]:
    """The rows; everything happens in the host's namespace."""
    folder.mkdir()
    return in_namespace(network.host, partial(_measure, folder, repeats))


def _measure(folder: Path, repeats: int) -> list[Row]:
    rows: list[Row] = []
    with_one: list[float] = []
    for count in (1, 10, 100, 1000):
        firewall.apply_whole(folder, _machines(count))
        ours, by_hand = _one_more(folder, count, repeats)
        rows.append(against_hand(f"One more machine's rules, {count} there", ours, by_hand, most_ms=30))
        if count == 1:
            with_one = ours
        if count == 1000:
            noise = 20  # the kernel itself looks at each chain that can be reached before it takes a change
            rows.append(
                no_slower("One more machine's rules: 1,000 there against 1", ours, with_one, noise_ms=noise)
            )
        if count == 100:
            rows.append(
                p95_under("Full check of the rules of 100 machines", _checks(folder, repeats), most_ms=300)
            )
            rows.append(
                p95_under(
                    "The same while nobody changed a rule",
                    _checks(folder, repeats, changed=False),
                    most_ms=50,
                )
            )
    firewall.apply(folder, [])
    return rows


def _machines(count: int, *, another: int | None = None) -> Sequence[WiredNetwork]:
    """So many, and perhaps `another` one, which is no other's number."""
    more = () if another is None else (10_000 + another,)
    nics = tuple(
        PluggedNic(
            tap=f"ot{number:06x}",
            mac=f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}",
            address=IPv4Address("10.60.1.0") + number,
            firewall=_FIREWALL,
        )
        for number in (*range(count), *more)
    )
    return (WiredNetwork(_NETWORK, nics),)


def _one_more(folder: Path, count: int, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds for one more, in turn ours and by hand: another one each time, which goes again."""
    there = _machines(count)
    ours, by_hand = [], []
    for number in range(repeats):
        more = _machines(count, another=number)
        begun = time.perf_counter()
        firewall.apply(folder, more)
        ours.append(time.perf_counter() - begun)
        firewall.apply(folder, there)
        come, go = (_script(a, b) for a, b in ((there, more), (more, there)))
        begun = time.perf_counter()
        subprocess.run(("nft", "-f", "-"), input=come, text=True, check=True)
        by_hand.append(time.perf_counter() - begun)
        subprocess.run(("nft", "-f", "-"), input=go, text=True, check=True)
    return ours, by_hand


def _script(before: Sequence[WiredNetwork], after: Sequence[WiredNetwork]) -> str:
    return script(change_of(differing(parts_of(before), parts_of(after))))


def _checks(folder: Path, repeats: int, *, changed: bool = True) -> list[float]:
    """Seconds for a check; where `changed`, somebody has just changed a table of his own, so that all of ours is looked at."""
    machines = _machines(100)
    firewall.is_in_force(folder, machines)
    seconds = []
    for _ in range(repeats):
        if changed:
            subprocess.run(("nft", "add table ip foreign; delete table ip foreign"), check=True)
        begun = time.perf_counter()
        if not firewall.is_in_force(folder, machines):
            raise RuntimeError("the rules are not in force")
        seconds.append(time.perf_counter() - begun)
    return seconds
