"""What changes when parts of our tables come, change and go; as a script for nft, also of the whole. Pure.

Sources: nft(8). nft reads statements line by line: each rule stands on a line of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workers.plan.rulesets.parts import SKELETON, TABLE, Part, Parts, Place

_NOTHING = Part()


@dataclass(frozen=True)
class Change:
    """Steps of one transaction, in their order. Chains are rules by name, sets declarations, elements values by key."""

    elements_gone: tuple[tuple[Place, str], ...] = ()
    chains_emptied: tuple[Place, ...] = ()
    sets_emptied: tuple[Place, ...] = ()
    chains_gone: tuple[Place, ...] = ()
    sets_gone: tuple[Place, ...] = ()
    sets: tuple[tuple[Place, str], ...] = ()
    chains: tuple[tuple[Place, tuple[str, ...]], ...] = ()
    elements: tuple[tuple[Place, str, str], ...] = ()


def differing(before: Parts, after: Parts) -> dict[str, tuple[Part, Part]]:
    """The parts that are not the same, by name: what each was, and what it is to be."""
    names = [*after, *(name for name in before if name not in after)]
    pairs = ((name, before.get(name, _NOTHING), after.get(name, _NOTHING)) for name in names)
    return {name: (old, new) for name, old, new in pairs if old != new}


def change_of(pairs: Mapping[str, tuple[Part, Part]]) -> Change:
    """First elements go, then what they led to; then sets and chains come, then the elements that lead to them.

    What is kept of flows goes where a card's chains change, so that what is now forbidden ends, and stays everywhere else.
    """
    parts = tuple(pairs.values())
    return Change(
        elements_gone=tuple(
            (place, key)
            for old, new in parts
            for place, elements in old.elements.items()
            for key, value in elements.items()
            if new.elements.get(place, {}).get(key) != value
        ),
        chains_emptied=tuple(
            place
            for old, new in parts
            for place, rules in old.chains.items()
            if new.chains.get(place) != rules
        ),
        sets_emptied=tuple(
            place
            for old, new in parts
            if old.chains != new.chains
            for place, body in old.sets.items()
            if new.sets.get(place) == body
        ),
        chains_gone=tuple(place for old, new in parts for place in old.chains if place not in new.chains),
        sets_gone=tuple(
            place for old, new in parts for place, body in old.sets.items() if new.sets.get(place) != body
        ),
        sets=tuple(
            (place, body)
            for old, new in parts
            for place, body in new.sets.items()
            if old.sets.get(place) != body
        ),
        chains=tuple(
            (place, rules)
            for old, new in parts
            for place, rules in new.chains.items()
            if old.chains.get(place) != rules
        ),
        elements=tuple(
            (place, key, value)
            for old, new in parts
            for place, elements in new.elements.items()
            for key, value in elements.items()
            if old.elements.get(place, {}).get(key) != value
        ),
    )


def script(change: Change) -> str:
    """The change in nft's words; empty where there is none."""
    made: dict[str, list[str]] = {}
    for (family, name), body in change.sets:
        made.setdefault(family, []).append(f"set {name} {{ {body} }}")
    for (family, name), rules in change.chains:
        made.setdefault(family, []).extend((f"chain {name} {{", *rules, "}"))
    lines = [
        *(_element("delete", place, key, "") for place, key in change.elements_gone),
        *(f"flush chain {_named(place)}" for place in change.chains_emptied),
        *(f"flush set {_named(place)}" for place in change.sets_emptied),
        *(f"delete chain {_named(place)}" for place in change.chains_gone),
        *(f"delete set {_named(place)}" for place in change.sets_gone),
        *(
            line
            for family, declared in made.items()
            for line in (f"table {family} {TABLE} {{", *declared, "}")
        ),
        *(_element("add", place, key, value) for place, key, value in change.elements),
    ]
    return "\n".join(lines) + "\n" if lines else ""


def whole(parts: Parts) -> str:
    """A script that replaces our two tables in one transaction; without parts it just removes them."""
    removed = [
        line
        for family in ("inet", "bridge")
        for line in (f"table {family} {TABLE}", f"delete table {family} {TABLE}")
    ]
    skeleton = SKELETON + script(change_of(differing({}, parts))) if parts else ""
    return "\n".join(removed) + "\n" + skeleton


def _named(place: Place) -> str:
    return f"{place[0]} {TABLE} {place[1]}"


def _element(verb: str, place: Place, key: str, value: str) -> str:
    return f"{verb} element {_named(place)} {{ {key}{f' : {value}' if value else ''} }}"
