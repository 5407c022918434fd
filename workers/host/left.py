"""Files of disks that are wanted no more: found by their names, which the host gave them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

_DISK_FILE = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(?:qcow2|raw)")


def left_disks(folders: Iterable[Path], wanted: frozenset[UUID]) -> dict[UUID, list[Path]]:
    """The files of disks in these folders of one machine that are not among the `wanted`, by the disk's id."""
    found: dict[UUID, list[Path]] = {}
    for folder in folders:
        for path in folder.iterdir():
            match = _DISK_FILE.fullmatch(path.name)
            if match is not None and UUID(match.group(1)) not in wanted:
                found.setdefault(UUID(match.group(1)), []).append(path)
    return found
