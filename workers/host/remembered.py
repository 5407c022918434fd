"""What a machine's firmware remembers (boot entries, keys): copied along when a machine begins as another one.

Not what its security chip holds: that is the chip's alone.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from uuid import UUID

from workers.plan.names import MachineFolder

_FILES = "firmware-*.qcow2"


def keep_with_base(folder: MachineFolder, base: Path, base_id: UUID, *, gid: int) -> None:
    """Lay the machine's firmware settings beside a base, root's as the base is; they go with it."""
    for path in folder.root.glob(_FILES):
        _copy(path, base.parent / f"{base_id}.{path.name}", uid=0, gid=gid, mode=0o440)


def take_from_base(folder: MachineFolder, base: Path, base_id: UUID, *, uid: int, gid: int) -> None:
    """The machine begins with the settings that lie beside the base; those that it has already stay."""
    for path in base.parent.glob(f"{base_id}.{_FILES}"):
        _take(path, folder.root / path.name.removeprefix(f"{base_id}."), uid=uid, gid=gid)


def take_from_machine(folder: MachineFolder, source: MachineFolder, *, uid: int, gid: int) -> None:
    """The machine begins with another one's settings; those that it has already stay."""
    for path in source.root.glob(_FILES):
        _take(path, folder.root / path.name, uid=uid, gid=gid)


def _take(path: Path, target: Path, *, uid: int, gid: int) -> None:
    if not target.exists():
        _copy(path, target, uid=uid, gid=gid, mode=0o600)


def _copy(path: Path, target: Path, *, uid: int, gid: int, mode: int) -> None:
    draft = target.with_suffix(".part")
    draft.unlink(missing_ok=True)
    shutil.copyfile(path, draft, follow_symlinks=False)
    os.chown(draft, uid, gid)
    draft.chmod(mode)
    draft.replace(target)
