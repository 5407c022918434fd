"""Reading the sizes, and whether a size has to be asked for."""

from __future__ import annotations

from collections.abc import Iterable

from portal.flavours.models import Flavour

CUSTOM = "custom"
"""The key that stands for a size of one's own."""


def flavours_offered() -> list[Flavour]:
    """What a form offers, in the administrator's order. One query."""
    return list(Flavour.objects.filter(is_hidden=False))


def flavour_of(flavours: Iterable[Flavour], key: str) -> Flavour | None:
    """The one of this key; None for a size of one's own."""
    return next((each for each in flavours if each.key == key), None)


def is_to_be_asked_for(flavours: Iterable[Flavour], *, cpus: int, memory_mib: int) -> bool:
    """Whether a size needs an approval: one that is marked does, and then all that fit into none of the free ones.

    So nobody gets by “Custom” what has to be asked for under its name.
    """
    offered = list(flavours)
    marked = [each for each in offered if each.needs_approval]
    if any((each.cpus, each.memory_mib) == (cpus, memory_mib) for each in marked):
        return True
    free = (each for each in offered if not each.needs_approval)
    return bool(marked) and not any(cpus <= each.cpus and memory_mib <= each.memory_mib for each in free)
