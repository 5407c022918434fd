"""The firewall of a machine: what is kept of it, and what new machines get. Pure.

While it is off, its rules are kept beside a mark that says so, so that switching it on again brings them back.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from workers.contract.networks import Direction, FirewallRule, FirewallSpec, Protocol
from workers.contract.spec import GuestKind

SSH, RDP = 22, 3389
_OFF = "is_off"


@dataclass(frozen=True)
class Kept:
    """What is written down of a machine's firewall."""

    is_on: bool
    spec: FirewallSpec


def for_new_machine(guest: GuestKind | str) -> FirewallSpec:
    """Everything goes out; ping and SSH come in, and for Windows its remote desktop."""
    ports = [SSH, RDP] if guest == GuestKind.WINDOWS else [SSH]
    opened = tuple(
        FirewallRule(
            direction=Direction.IN, allow=True, protocol=Protocol.TCP, first_port=port, last_port=port
        )
        for port in ports
    )
    ping = FirewallRule(direction=Direction.IN, allow=True, protocol=Protocol.PING)
    return FirewallSpec(allow_in=False, allow_out=True, rules=(ping, *opened))


def stored(spec: FirewallSpec | None, *, is_on: bool = True) -> dict[str, Any] | None:
    """As the machine's row keeps it; None without any."""
    if spec is None:
        return None
    return spec.model_dump(mode="json") | ({} if is_on else {_OFF: True})


def kept(row: Any) -> Kept | None:
    """What the row keeps; None where nobody ever switched it on."""
    if not row:
        return None
    spec = {name: value for name, value in row.items() if name != _OFF}
    return Kept(is_on=not row.get(_OFF), spec=FirewallSpec.model_validate_json(json.dumps(spec)))


def in_force(row: Any) -> FirewallSpec | None:
    """What the machine's host is to apply; None while it is off."""
    found = kept(row)
    return found.spec if found is not None and found.is_on else None


def mark_of(spec: FirewallSpec) -> str:
    """By which a form says of which rules it speaks, so that none is removed in the place of another."""
    return hashlib.sha256(spec.model_dump_json().encode()).hexdigest()[:16]
