"""Names that DNS knows. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from itertools import count

from django.utils.text import slugify


def host_name_for(machine_name: str) -> str:
    """A host name (RFC 1123) that comes close to the machine's name."""
    name = slugify(unicodedata.normalize("NFKD", machine_name).replace("_", "-").replace(".", "-"))
    return name[:63].strip("-") or "machine"


def free_name(wanted: str, taken: Iterable[str]) -> str:
    """`wanted`, or, where it is taken, the same with the lowest number from 2 on that is free; at most 63 characters."""
    names = set(taken)
    if wanted not in names:
        return wanted
    numbered = (f"{wanted[: 62 - len(str(number))]}-{number}" for number in count(2))
    return next(name for name in numbered if name not in names)
