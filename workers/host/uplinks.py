"""Bridges around cards of the host: its addresses and routes move to the bridge, or back, and nobody is locked out by it.

A change is written down before it is made, and a guard (`bridge_guard`, a process of its own) is there before it too. Unless
all that the host reached before is reached again in time, it is undone: by the worker, by the guard where that was killed,
by the next worker where the guard was killed too. A reboot undoes it by itself. `uplinks/<bridge>.json` is a bridge that is
to be there; `uplinks/changes/<bridge>.json` a change that is not confirmed.
"""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from workers.config import HostConfig
from workers.contract.errors import ErrorCode, OffshootError
from workers.host import links
from workers.host.boot import boot_id
from workers.host.commands import spawn
from workers.host.files import read_json, tail, write_json
from workers.host.foreign_rules import tables_for_one_only
from workers.host.interfaces import why_no_bridge
from workers.host.layouts import Layout, bring_over, lacks, read_layout
from workers.host.locks import LockBusy, locked_within
from workers.host.reaching import Reached, reached_now, still_reaches
from workers.host.wrapping import unwrap, wrap
from workers.killpoints import reached
from workers.plan.names import StateFolder, bridge_around

_GUARD_START_SECONDS = 20.0
_LOCK_SECONDS = 15.0
_ROOT = Path(__file__).parents[2]


class BridgeRefused(OffshootError):
    """The card cannot get a bridge, or the bridge cannot go; nothing was changed."""

    code = ErrorCode.BRIDGE_REFUSED


class TakenBack(OffshootError):
    """With the change the host no longer reached what it had reached before, so it was undone."""

    code = ErrorCode.BRIDGE_TAKEN_BACK


def make_bridge(config: HostConfig, card: str) -> None:
    """A bridge is around the card. Raises BridgeRefused, TakenBack, LinkError."""
    bridge = bridge_around(card)
    state = config.state
    if _record(state, bridge) is not None and links.master_of(card) == bridge:
        return
    reason = why_no_bridge(card, bridge)
    if reason:
        raise BridgeRefused(reason)
    _refuse_rules_for_one_only(card, bridge)
    try:
        layout = read_layout(card)
    except links.LinkError as exc:
        raise BridgeRefused(exc.detail) from exc
    try:
        _change(config, to="bridge", card=card, bridge=bridge, layout=layout)
    except links.LinkError as exc:
        if getattr(exc.__cause__, "code", None) != errno.EBUSY:
            raise
        words = (
            "something else stands on it, such as a container's macvlan"  # which only its own namespace shows
        )
        raise BridgeRefused(f"{card} cannot be in a bridge: {words}.") from exc


def remove_bridge(config: HostConfig, bridge: str) -> None:
    """The bridge is gone, and its card is as it was before. Raises BridgeRefused, TakenBack, LinkError."""
    state = config.state
    record = _record(state, bridge)
    if record is None:
        if links.link_exists(bridge):
            raise BridgeRefused(f"{bridge} was not made by Offshoot, so it is not taken away by it")
        return
    card = str(record["card"])
    if not links.link_exists(bridge):
        if record["boot"] == boot_id() and not read_layout(card)["addresses"]:
            unwrap(card, bridge, record["layout"])  # somebody deleted the bridge, and the addresses with it
        _file(state, bridge).unlink(missing_ok=True)
        return
    others = sorted(set(links.ports_of(bridge)) - {card})
    if others:
        raise BridgeRefused(
            f"{len(others)} machine(s) or others are plugged into {bridge}: {', '.join(others[:5])}"
        )
    _refuse_rules_for_one_only(bridge, card)
    _change(
        config,
        to="card",
        card=card,
        bridge=bridge,
        layout=read_layout(bridge) | {"ipv6": record["layout"]["ipv6"]},
    )


def made_bridges(state: StateFolder) -> dict[str, str]:
    """Our bridges that are to be there, and their cards."""
    records = {path.stem: _record(state, path.stem) for path in state.uplinks.glob("*.json")}
    return {name: str(record["card"]) for name, record in records.items() if record is not None}


def settle(config: HostConfig) -> tuple[str, ...]:
    """Undo what a worker that was killed did not confirm; the bridges that were. For the start of a worker."""
    undone = []
    for path in config.state.uplinks.glob("changes/*.json"):
        if roll_back(config.state, path.stem):
            undone.append(path.stem)
    return tuple(undone)


def is_early(state: StateFolder) -> bool:
    """The host has been started, and a card lacks addresses or ways out that it had: its bridge waits for them."""
    for bridge, card in made_bridges(state).items():
        record = _record(state, bridge)
        if record is None or record["boot"] == boot_id():
            continue
        if links.link_exists(bridge) or record.get("taken_back") == boot_id():
            continue
        if not links.link_exists(card) or lacks(read_layout(card), record["layout"]):
            return True
    return False


def make_again(config: HostConfig) -> tuple[str, ...]:
    """Make the bridges that are to be there and are not, as after a reboot, equally carefully; those that were made.

    One whose card has no address yet is left for the next time; one that was taken back for the next boot.
    """
    made = []
    for bridge, card in made_bridges(config.state).items():
        record = _record(config.state, bridge)
        if record is None or links.link_exists(bridge) or record.get("taken_back") == boot_id():
            continue
        if not links.link_exists(card) or links.master_of(card):
            continue
        layout = read_layout(card)
        had = bool(record["layout"]["addresses"])
        if had and not layout["addresses"]:
            if record["boot"] != boot_id():
                continue  # its own configuration has not come to it yet
            layout = record["layout"]  # somebody deleted the bridge, and the addresses with it
        try:
            _change(config, to="bridge", card=card, bridge=bridge, layout=layout, while_it_is=record)
        except BridgeRefused:
            continue  # somebody changes it, or has just taken it away
        except TakenBack:
            write_json(_file(config.state, bridge), record | {"taken_back": boot_id()})
            raise
        made.append(bridge)
    return tuple(made)


def bring_all_over(config: HostConfig) -> tuple[str, ...]:
    """Move what cards have of their own again to the bridges around them; the bridges that were given something.

    A DHCP client that hears answers at a port of a bridge too (Debian's dhclient) puts the address there at each renewal.
    Raises LinkError.
    """
    given = []
    for bridge in made_bridges(config.state):
        with _lock(config.state):
            record = _record(config.state, bridge)
            if record is None or _journal(config.state, bridge).exists():
                continue
            card = str(record["card"])
            if links.master_of(card) == bridge and bring_over(card, bridge):
                given.append(bridge)
    return tuple(given)


def roll_back(state: StateFolder, bridge: str, *, only: str = "") -> bool:
    """Undo the change of this bridge that is not confirmed (`only`: if it is this one); False where there is none.

    Raises LinkError; then it is still noted, and can be tried again.
    """
    with _lock(state):
        change = read_json(_journal(state, bridge))
        if change is None or (only and change["id"] != only):
            return False
        same_boot = change["boot"] == boot_id()
        if change["to"] == "bridge":
            if same_boot:
                unwrap(change["card"], bridge, change["layout"])
            if change["before"] is None:
                _file(state, bridge).unlink(missing_ok=True)
        else:
            if same_boot:
                wrap(change["card"], bridge, change["layout"])
            write_json(_file(state, bridge), change["before"])
        _journal(state, bridge).unlink()
        _guard_file(state, bridge).unlink(missing_ok=True)
        return True


def waits(state: StateFolder, bridge: str, identity: str) -> bool:
    """This change is neither confirmed nor undone yet."""
    change = read_json(_journal(state, bridge))
    return change is not None and change["id"] == identity


def note_guard(state: StateFolder, bridge: str, identity: str) -> None:
    """The guard is there."""
    write_json(_guard_file(state, bridge), identity)


def _refuse_rules_for_one_only(now: str, later: str) -> None:
    """Raises BridgeRefused where the host's own firewall names the interface of now, and not the one that takes its part."""
    try:
        tables = tables_for_one_only(now, later)
    except OffshootError as exc:
        raise BridgeRefused(f"The host's own firewall could not be looked at: {exc.detail}") from exc
    if tables:
        raise BridgeRefused(
            f"The host's own firewall has rules for {now} that would no longer hold (nftables: {', '.join(tables)}). "
            f"Put {later} into those rules beside {now}, then try again; nothing was changed."
        )


def _change(
    config: HostConfig,
    *,
    to: str,
    card: str,
    bridge: str,
    layout: Layout,
    while_it_is: dict[str, Any] | None = None,
) -> None:
    """Change it and confirm the change. Raises BridgeRefused where somebody else does, or has (`while_it_is`: the record)."""
    state = config.state
    (state.uplinks / "changes").mkdir(parents=True, exist_ok=True, mode=0o700)
    before = reached_now(config.broker_url, layout, bridge if to == "card" else card)
    change: dict[str, Any] = {
        "id": str(uuid4()),
        "to": to,
        "card": card,
        "bridge": bridge,
        "layout": layout,
        "boot": boot_id(),
        "before": _record(state, bridge),
    }
    with _lock(state):
        if _journal(state, bridge).exists():
            raise BridgeRefused(f"{bridge} is being changed already")
        if while_it_is is not None and _record(state, bridge) != while_it_is:
            raise BridgeRefused(f"{bridge} was changed meanwhile")
        write_json(_journal(state, bridge), change)
    reached("change of a bridge noted")
    try:
        _start_guard(config, bridge, change["id"])
        with _lock(state):
            (wrap if to == "bridge" else unwrap)(card, bridge, layout)
        reached("bridge changed")
        _confirm(config, change, before)
    except Exception:
        roll_back(state, bridge, only=change["id"])
        raise


def _confirm(config: HostConfig, change: dict[str, Any], before: Reached) -> None:
    """Keep the change if all that was reached is reached again. Raises TakenBack."""
    state, bridge, to = config.state, change["bridge"], change["to"]
    port = bridge if to == "bridge" else change["card"]
    lost = still_reaches(config.broker_url, before, port, seconds=config.bridge_seconds)
    if lost:
        raise TakenBack(f"not reached after {config.bridge_seconds:g} s: {lost}")
    with _lock(state):
        if not waits(state, bridge, change["id"]):
            raise TakenBack("it was not confirmed in time")
        if to == "card":
            _file(state, bridge).unlink(missing_ok=True)
        reached("bridge confirmed")
        if to == "bridge":
            _journal(state, bridge).replace(_file(state, bridge))
        else:
            _journal(state, bridge).unlink()
        _guard_file(state, bridge).unlink(missing_ok=True)


def _start_guard(config: HostConfig, bridge: str, identity: str) -> None:
    """A process that undoes the change where nobody confirms it; it is there when this returns. Raises LinkError."""
    state = config.state
    log = state.uplinks / "guard.log"
    seconds = 1.5 * config.bridge_seconds + 3
    code = "import sys; sys.path.insert(0, sys.argv[1]); from workers.bridge_guard import main; main(*sys.argv[2:])"
    process = spawn(
        (sys.executable, "-c", code, str(_ROOT), str(state.root), bridge, identity, str(seconds)),
        stdout=log,
        stderr=log,
    )
    deadline = time.monotonic() + _GUARD_START_SECONDS
    while read_json(_guard_file(state, bridge)) != identity:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise links.LinkError(f"the guard did not start: {tail(log, most_bytes=1000)}")
        time.sleep(0.02)


@contextmanager
def _lock(state: StateFolder) -> Iterator[None]:
    """Keeps two changes apart. Whoever hangs with it for long keeps nobody from undoing his change."""
    state.uplinks.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = state.uplinks / ".lock"
    try:
        with locked_within(path, seconds=_LOCK_SECONDS, between=lambda: None):
            yield
            return
    except LockBusy:
        pass
    yield


def _record(state: StateFolder, bridge: str) -> dict[str, Any] | None:
    raw = read_json(_file(state, bridge))
    return raw if isinstance(raw, dict) and "card" in raw else None


def _file(state: StateFolder, bridge: str) -> Path:
    return state.uplinks / f"{bridge}.json"


def _journal(state: StateFolder, bridge: str) -> Path:
    return state.uplinks / "changes" / f"{bridge}.json"


def _guard_file(state: StateFolder, bridge: str) -> Path:
    return state.uplinks / "changes" / f"{bridge}.guard"
