"""How the content of growing disks is kept and put back: the commands for it. Pure.

A snapshot lies inside each disk's own file (qcow2, internal), under the snapshot's id; qemu-img(1) and QMP know it by that name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from workers.plan.disks import QEMU_IMG

BEFORE = "before-going-back"
"""What the disks were before a machine goes back, for as long as that takes; no id looks like it."""

QmpCommand = tuple[str, dict[str, Any]]
Change = Literal["create", "apply", "delete"]

_OPTIONS: dict[Change, str] = {"create": "-c", "apply": "-a", "delete": "-d"}


def name_of(snapshot_id: UUID) -> str:
    """What a snapshot is called inside the disks."""
    return str(snapshot_id)


def change_argv(change: Change, name: str, path: Path) -> tuple[str, ...]:
    """qemu-img's arguments for a disk that nobody has open."""
    return (QEMU_IMG, "snapshot", "-q", _OPTIONS[change], name, str(path))


def look_argv(path: Path) -> tuple[str, ...]:
    """qemu-img's arguments to read what a disk holds, also while a running machine has it open."""
    return (QEMU_IMG, "info", "--force-share", "--output=json", str(path))


def at_one_instant(nodes: Sequence[str], name: str) -> QmpCommand:
    """Keep all of these disks of a running machine at the same instant, or none of them."""
    actions = [
        {"type": "blockdev-snapshot-internal-sync", "data": {"device": node, "name": name}} for node in nodes
    ]
    return ("transaction", {"actions": actions})


def forget_command(node: str, name: str) -> QmpCommand:
    """Forget a snapshot in a disk of a running machine."""
    return ("blockdev-snapshot-delete-internal-sync", {"device": node, "name": name})
