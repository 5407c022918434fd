"""What lies on a host beside the disks for each snapshot of a machine: its record, its memory, its TPM's memory.

The record is written last and removed first: without it there is no snapshot, whatever else lies there.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from workers.host.files import read_json, write_json
from workers.host.saved import Saved, from_note, note_of
from workers.plan.names import MachineFolder


@dataclass(frozen=True)
class Shelf:
    """The place of one snapshot."""

    root: Path

    @property
    def record_file(self) -> Path:
        """Says that the snapshot is whole."""
        return self.root / "record.json"

    @property
    def memory_file(self) -> Path:
        """The memory of the machine."""
        return self.root / "memory"

    @property
    def tpm(self) -> Path:
        """What the machine's TPM remembered."""
        return self.root / "tpm"

    def is_whole(self) -> bool:
        """The snapshot was taken to its end."""
        return self.record_file.exists()

    def open(self) -> None:
        """The place is there, for root alone."""
        self.root.parent.mkdir(mode=0o700, exist_ok=True)
        self.root.mkdir(mode=0o700, exist_ok=True)

    def note(self, ran: Saved | None) -> None:
        """The snapshot is whole; `ran` is what ran then, where its memory was kept."""
        write_json(self.record_file, {"memory": note_of(ran) if ran else None})

    def ran(self) -> Saved | None:
        """What ran then; None where no memory was kept, or not for this version to read."""
        about = read_json(self.record_file)
        if not isinstance(about, dict) or not self.memory_file.exists():
            return None
        return from_note(about.get("memory"))

    def clear(self) -> None:
        """Nothing of it is left; harmless where nothing is."""
        self.record_file.unlink(missing_ok=True)
        shutil.rmtree(self.root, ignore_errors=True)


def shelf_of(folder: MachineFolder, snapshot_id: UUID) -> Shelf:
    """Where a snapshot's belongings lie."""
    return Shelf(folder.snapshots / str(snapshot_id))
