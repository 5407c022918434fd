"""The host's own firewall, as far as it names an interface whose part another one takes: a card and the bridge around it.

What comes in by a port of a bridge comes to the host from the bridge, so a rule for the port's name holds for it no longer.
Rules of the families netdev and bridge see the port itself, and go on.
"""

from __future__ import annotations

import re

from workers.host.commands import run
from workers.plan.rulesets.parts import TABLE

_FAMILIES = ("inet", "ip", "ip6")
_SECONDS = 60
_ASIDE = re.compile(
    r'\b(?:comment|prefix) "[^"]*"'  # words for people
    r'|\bingress device "[^"]*"|\bdevices = \{[^}]*\}'  # at the port itself, before its bridge
)
_QUOTED = re.compile(r'"([^"]+)"')


def tables_for_one_only(name: str, other: str) -> tuple[str, ...]:
    """Tables of others that name this interface and not the other one. Raises CommandError.

    Only they are listed: where there is none, this costs one short call.
    """
    found = []
    for line in run(("nft", "list", "tables"), seconds=_SECONDS).stdout.splitlines():
        _, family, table = line.split()[:3]
        if family not in _FAMILIES or table == TABLE:
            continue
        listed = run(("nft", "-s", "list", "table", family, table), seconds=_SECONDS, check=False).stdout
        if names(listed, name) and not names(listed, other):
            found.append(f"{family} {table}")
    return tuple(found)


def names(listed: str, interface: str) -> bool:
    """What nft lists names the interface, as it is or by how it begins (`"eth*"`)."""
    return any(
        word == interface or (word.endswith("*") and interface.startswith(word[:-1]))
        for word in _QUOTED.findall(_ASIDE.sub("", listed))
    )
