"""What the living qemu of a machine has: its hardware after each change, and the memory that is left to its guest.

It stands in `launched.json`, brought up to date with each single change, so that a worker that was killed goes on right.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.contract.disks import MIB
from workers.contract.errors import MessageError
from workers.contract.spec import MachineSpec
from workers.contract.version import from_wire
from workers.host import processes
from workers.host.files import read_json, write_json
from workers.plan.names import MachineFolder


@dataclass(frozen=True)
class Living:
    """`ports`: things can be plugged in and out; a machine that an earlier version started has none."""

    spec: MachineSpec
    ports: bool


_READ: dict[Path, tuple[tuple[int, int], Living | None]] = {}
"""What was read last, by the machine's folder: a heartbeat looks at hundreds that did not change."""


def living(folder: MachineFolder) -> Living | None:
    """The hardware of the qemu that was started last; None where it is not known, as with one of an earlier version."""
    try:
        found = folder.launched_file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    version = (found.st_ino, found.st_mtime_ns)  # each change is a new file
    known = _READ.get(folder.root)
    if known is None or known[0] != version:
        known = _READ[folder.root] = (version, _read(processes.launched(folder)))
    return known[1]


def _read(record: dict[str, Any]) -> Living | None:
    try:
        spec = from_wire(MachineSpec, record["spec"])
    except (KeyError, MessageError):
        return None
    return Living(spec, bool(record.get("ports")))


def note_living(folder: MachineFolder, **changes: Any) -> None:
    """The living qemu's hardware is now this; fields of its spec. Call it under the apply lock."""
    record = processes.launched(folder)
    spec = from_wire(MachineSpec, record["spec"]).model_copy(update=changes)
    write_json(folder.launched_file, record | {"spec": spec.to_wire()})
    _READ.pop(folder.root, None)


def note_memory(folder: MachineFolder, actual_bytes: int) -> bool:
    """qemu said that this much is left to the guest; False where that was known."""
    said = {"run": processes.launched(folder).get("run"), "mib": actual_bytes // MIB}
    if read_json(folder.balloon_file) == said:
        return False
    write_json(folder.balloon_file, said)
    return True


def memory_now_mib(folder: MachineFolder) -> int | None:
    """What the balloon leaves to the guest of this run; None where qemu has not said."""
    said = read_json(folder.balloon_file)
    if not isinstance(said, dict) or said.get("run") != processes.launched(folder).get("run"):
        return None
    mib = said.get("mib")
    return mib if isinstance(mib, int) else None
