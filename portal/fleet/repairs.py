"""What a host's check of its networks put right last, as an administrator reads it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from portal.fleet.models import Host
from portal.machines.models import Machine
from portal.networks.models import Network

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class ShownRepair:
    """`what`: the host's words, with names in the place of ids."""

    at: datetime
    what: str


def repairs_of(host: Host) -> list[ShownRepair]:
    """The newest first. Two queries where there are any."""
    if not host.repairs:
        return []
    ids = {UUID(found) for each in host.repairs for found in _ID.findall(each["what"])}
    names = {str(pk): name for pk, name in Network.objects.filter(pk__in=ids).values_list("pk", "name")}
    names |= {str(pk): name for pk, name in Machine.objects.filter(pk__in=ids).values_list("pk", "name")}

    def named(found: re.Match[str]) -> str:
        return f"“{names[found[0]]}”" if found[0] in names else found[0]

    return [
        ShownRepair(datetime.fromtimestamp(each["at"], UTC), _ID.sub(named, each["what"]))
        for each in host.repairs
    ]
