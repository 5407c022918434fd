"""What nft lists, made comparable: chains and declarations by name, elements of maps in no order. Pure.

Nobody can foretell how one version of nft words a rule of ours, so what should be listed is what the same nft lists of our
script in a namespace of its own. The order in which chains, sets and elements were added does not count; that of rules does.
Notes of flows are left out: they come and go with the traffic.
"""

from __future__ import annotations

import re

from workers.plan.rulesets.parts import MAPS, TABLE

LISTINGS: tuple[tuple[str, ...], ...] = (
    *(("nft", "-s", "-t", "list", "table", family, TABLE) for family in ("inet", "bridge")),
    *(("nft", "-s", "list", kind, family, TABLE, name) for kind, (family, name) in MAPS),
)
"""Commands that list it: the tables without counters and contents of sets, then what we put into our maps.

One command a listing: nft 1.0.6 finds only the last of several that it is given at once.
"""

Listing = dict[str, tuple[str, ...]]
_ELEMENTS = re.compile(r"elements = \{(.*?)\}", re.DOTALL)


def comparable(listed: str) -> Listing:
    """Blocks of nft's output by table and header; an element list is sorted, blocks that come twice follow each other."""
    found: dict[str, tuple[str, ...]] = {}
    table = block = ""
    for line in _one_line_each(listed):
        depth = len(line) - len(line.lstrip("\t"))
        word = line.strip()
        if not word or word == "}":
            continue
        if depth == 0:
            table = word.removesuffix(" {")
            found.setdefault(table, ())
        elif depth == 1 and word.endswith("{"):
            block = f"{table}: {word.removesuffix(' {')}"
            found.setdefault(block, ())
        elif depth == 1:  # something of the table itself, such as flags
            found[table] = (*found[table], word)
        else:
            found[block] += (word,)
    return found


def _one_line_each(listed: str) -> list[str]:
    def sorted_elements(match: re.Match[str]) -> str:
        return "elements = { " + ", ".join(sorted(e.strip() for e in match.group(1).split(","))) + " }"

    return _ELEMENTS.sub(sorted_elements, listed).splitlines()
