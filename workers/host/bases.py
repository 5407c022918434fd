"""Bases: frozen disks, root's and never written again, on which other disks stand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from workers.config import HostConfig
from workers.contract.disks import DiskKind
from workers.contract.errors import ErrorCode, OffshootError
from workers.host.files import read_json, write_json
from workers.host.made import disks_on, made_disks
from workers.plan.names import MachineFolder, disk_file_name


class BaseMissing(OffshootError):
    """No such base is on this host, or its pool is away."""

    code = ErrorCode.BASE_MISSING


class BaseInUse(OffshootError):
    """Something stands on the base; the detail says what."""

    code = ErrorCode.BASE_IN_USE


@dataclass(frozen=True)
class Base:
    """A frozen disk: its file, what it is, its size in bytes, and what it stands on itself."""

    id: UUID
    path: Path
    kind: DiskKind
    size_bytes: int
    stands_on: UUID | None


def base_folders(config: HostConfig) -> tuple[Path, ...]:
    """Where bases lie: beside the machines, and in each pool (a rename does not leave a filesystem)."""
    return (config.state.bases, *(path / "offshoot" / "bases" for path in config.pools.values()))


def base_file(folder: Path, base_id: UUID, kind: DiskKind) -> Path:
    """A base's file in one of these folders."""
    return folder / disk_file_name(base_id, kind)


def base_of(config: HostConfig, base_id: UUID) -> Base:
    """The base, wherever it lies. Raises BaseMissing."""
    for folder in base_folders(config):
        for kind in DiskKind:
            path = base_file(folder, base_id, kind)
            note = read_json(_note(folder, base_id))
            if path.exists() and note is not None:
                on = note.get("stands_on")
                return Base(base_id, path, kind, int(note["size_bytes"]), UUID(on) if on else None)
    raise BaseMissing(f"{base_id} is not on {config.name}")


def note_base(folder: Path, base_id: UUID, *, size_bytes: int, stands_on: UUID | None) -> None:
    """Write down what cannot be told from the file; before the file is there."""
    write_json(
        _note(folder, base_id),
        {"size_bytes": size_bytes, "stands_on": str(stands_on) if stands_on else None},
    )


def forget_base(config: HostConfig, base_id: UUID) -> None:
    """Remove a base; does nothing where it is gone. Raises BaseInUse where a disk or another base stands on it."""
    users = [
        f"disk {disk_id} of machine {machine_id}"
        for machine_id, disk_id in disks_on(config.state, base_id)
        if _still_there(config, machine_id, disk_id)
    ]
    notes = {path: read_json(path) for folder in base_folders(config) for path in folder.glob("*.json")}
    users += [
        f"base {path.stem}" for path, note in notes.items() if note and note.get("stands_on") == str(base_id)
    ]
    if users:
        raise BaseInUse(", ".join(users))
    remove_base(config, base_id)


def remove_base(config: HostConfig, base_id: UUID) -> None:
    """Remove all files of a base, its own note last."""
    for folder in base_folders(config):
        for path in (*folder.glob(f"{base_id}.*"),):
            if path != _note(folder, base_id):
                path.unlink(missing_ok=True)
        _note(folder, base_id).unlink(missing_ok=True)


def _still_there(config: HostConfig, machine_id: UUID, disk_id: UUID) -> bool:
    """The disk's file is there: a record outlives a disk that was taken out of its machine. In doubt it is."""
    folder = MachineFolder(config.state.machine(machine_id).root)
    spot = made_disks(folder)[disk_id].spot
    if spot.pool is None:
        return (folder.root / disk_file_name(disk_id, spot.kind)).exists()
    pool = config.pools.get(spot.pool)
    if pool is None or not (pool / "offshoot").is_dir():
        return True
    return (pool / "offshoot" / str(machine_id) / disk_file_name(disk_id, spot.kind)).exists()


def _note(folder: Path, base_id: UUID) -> Path:
    return folder / f"{base_id}.json"
