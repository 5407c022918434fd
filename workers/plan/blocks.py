"""Nodes of qemu's block layer, and a qemu without a machine that does nothing but copy. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workers.contract.disks import DiskKind
from workers.plan.disks import format_of
from workers.plan.qemu import QEMU, SANDBOX, escape


def copier_argv(socket: Path, nodes: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """qemu with these nodes and no machine around them; it ends with the thread that started it."""
    return (
        *("setpriv", "--pdeathsig", "KILL"),
        *(QEMU, "-machine", "none", "-no-user-config", "-nodefaults", "-display", "none"),
        *("-sandbox", SANDBOX),
        *("-chardev", f"socket,id=qmp,path={escape(str(socket))},server=on,wait=off"),
        *("-mon", "chardev=qmp,mode=control"),
        *(argument for node in nodes for argument in ("-blockdev", json.dumps(node))),
    )


def file_node(
    name: str, filename: str, driver: str, *, writable: bool, backing: str | None = None
) -> dict[str, Any]:
    """A file as a node. What a qcow2 file itself says of what it stands on does not count: `backing` does."""
    node: dict[str, Any] = {
        "driver": driver,
        "node-name": name,
        "read-only": not writable,
        "file": {
            "driver": "file",
            "filename": filename,
            "read-only": not writable,
            "locking": "off",
        },
    }
    if driver != "qcow2":
        return node
    # What a fixed disk has never used is read as zeros, which take no room in a growing file.
    return node | {"backing": backing} | ({"detect-zeroes": "on"} if writable else {})


def disk_node(name: str, path: Path, kind: DiskKind) -> dict[str, Any]:
    """The disk of a machine that is off, as its own qemu would open it."""
    return {
        "driver": format_of(kind),
        "node-name": name,
        "file": {"driver": "file", "filename": str(path)},
    }
