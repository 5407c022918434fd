"""The parts that a host's networks need."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from workers.contract.networks import NetworkSpec
from workers.plan.names import bridge_name
from workers.plan.network import PluggedNic, WiredNetwork
from workers.plan.rulesets.cards import card_part
from workers.plan.rulesets.changes import whole
from workers.plan.rulesets.parts import Part
from workers.plan.rulesets.routes import network_part


def parts_of(networks: Sequence[WiredNetwork]) -> dict[str, Part]:
    """One part a network, one a card, by the names of bridges and taps."""
    parts: dict[str, Part] = {}
    for wired in networks:
        parts[bridge_name(wired.network.id)] = network_part(wired.network)
        for nic in wired.nics:
            parts[nic.tap] = _card_part(wired.network, nic)
    return parts


@functools.lru_cache(maxsize=4096)
def _card_part(network: NetworkSpec, nic: PluggedNic) -> Part:
    """Worked out once a card: with a thousand of them all is compared at each change, and hardly any is new."""
    return card_part(network, nic)


def rules_of_card(network: NetworkSpec, nic: PluggedNic) -> str:
    """The rules of one card, chain by chain, for an expert's eyes; that they are in force is what the check looks at."""
    chains = _card_part(network, nic).chains.items()
    return "".join(
        f"chain {name} {{\n{''.join(f'  {rule}{chr(10)}' for rule in rules)}}}\n"
        for (_, name), rules in chains
    )


def ruleset(networks: Sequence[WiredNetwork]) -> str:
    """A script that puts the rules of these networks, and no others, into our two tables."""
    return whole(parts_of(networks))
