"""The memory of a hibernated machine as it lies on the host: a file, and a note of what it belongs to.

The note is written last and removed first: without it there is no saved memory, whatever else lies there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.contract.errors import MessageError
from workers.contract.spec import MachineSpec
from workers.contract.version import from_wire
from workers.host.files import read_json, write_json
from workers.killpoints import reached
from workers.plan.names import MachineFolder


@dataclass(frozen=True)
class Saved:
    """The run that goes on, the hardware that its memory knows, and what qemu was started with."""

    run: int
    spec: MachineSpec
    accelerator: str
    argv: tuple[str, ...]


def saved(folder: MachineFolder) -> Saved | None:
    """What is saved; None where nothing is, or nothing whole."""
    return from_note(read_json(folder.saved_file)) if folder.memory_file.exists() else None


def from_note(raw: Any) -> Saved | None:
    """What a note says that was read back; None where it says nothing that this version understands."""
    try:
        spec = from_wire(MachineSpec, raw["spec"])
        return Saved(int(raw["run"]), spec, str(raw["accelerator"]), tuple(raw["argv"]))
    except (KeyError, TypeError, ValueError, MessageError):
        return None


def note_of(what: Saved) -> dict[str, Any]:
    """The same to be written down, as JSON types."""
    return {
        "run": what.run, "spec": what.spec.to_wire(), "accelerator": what.accelerator, "argv": list(what.argv),
    }  # fmt: skip


def keep(folder: MachineFolder, what: Saved) -> None:
    """What was written to `memory_draft` is the machine's memory from now on; survives a power cut."""
    folder.memory_draft.replace(folder.memory_file)
    _sync(folder)
    reached("memory written")
    write_json(folder.saved_file, note_of(what))
    _sync(folder)
    reached("memory noted")


def set_aside(folder: MachineFolder) -> None:
    """From now on nobody goes on from what is saved; put_back takes that back, discard makes it final."""
    if folder.saved_file.exists():
        folder.saved_file.replace(_aside(folder))
        _sync(folder)
        reached("memory set aside")


def put_back(folder: MachineFolder) -> None:
    """What was set aside is saved again."""
    if _aside(folder).exists():
        _aside(folder).replace(folder.saved_file)
        _sync(folder)


def discard(folder: MachineFolder) -> None:
    """The saved memory is not to be gone on from any more."""
    if not any(path.exists() for path in (folder.saved_file, folder.memory_file, folder.memory_draft)):
        return
    folder.saved_file.unlink(missing_ok=True)
    _sync(folder)
    reached("memory forgotten")
    for path in (folder.memory_file, folder.memory_draft, _aside(folder)):
        path.unlink(missing_ok=True)


def _aside(folder: MachineFolder) -> Path:
    return folder.saved_file.with_suffix(".aside")


def _sync(folder: MachineFolder) -> None:
    """Make the folder's own entries durable (fsync(2) of a directory)."""
    descriptor = os.open(folder.root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
