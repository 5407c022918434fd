"""The backups of one machine in one place: folders with a manifest, and files that stand on each other.

A backup is there when its manifest is. The manifest alone says which files belong to it; whatever else lies beside is
left from a worker that was killed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID

from workers.contract.disks import DiskKind
from workers.contract.errors import ErrorCode, MessageError, OffshootError
from workers.contract.version import from_wire
from workers.host.files import read_json, write_json
from workers.plan.backups import MANIFEST, Manifest, StoredDisk

_BLOCK_BYTES = 4 * 1024 * 1024
_QCOW2 = struct.Struct(">4sIQIIQIIQQIIQQ")
"""The header to the incompatible features (qemu: docs/interop/qcow2.txt)."""

_EXTERNAL_DATA = 0b100


class BackupDamaged(OffshootError):
    """A backup is not what was written down when it was taken; the detail says what."""

    code = ErrorCode.BACKUP_DAMAGED


class Kept(Protocol):
    """What is kept in a file: a disk, or what a UEFI remembers."""

    @property
    def id(self) -> UUID:
        """Its own."""

    @property
    def slot(self) -> int:
        """Where it is plugged in."""

    @property
    def kind(self) -> DiskKind:
        """What its file is in the machine."""


class BackupFailed(OffshootError):
    """The backup was not written; nothing of it is left, and the machine is as it was."""

    code = ErrorCode.BACKUP_FAILED


@dataclass(frozen=True)
class Store:
    """Where they lie, and the lock that keeps a deletion apart from everything else that is done with them."""

    folder: Path
    lock: Path

    def home(self, backup_id: UUID) -> Path:
        """The folder of a backup."""
        return self.folder / str(backup_id)

    def part(self, backup_id: UUID) -> Path:
        """The folder of a backup that is being written."""
        return self.folder / f"{backup_id}.part"

    def manifest(self, backup_id: UUID) -> Manifest | None:
        """What is written down of a backup; None where there is none. Raises BackupDamaged where it cannot be read."""
        wire = read_json(self.home(backup_id) / MANIFEST)
        if wire is None:
            return None
        try:
            return from_wire(Manifest, wire)
        except MessageError as exc:
            raise BackupDamaged(f"{self.home(backup_id) / MANIFEST}: {exc.detail}") from exc

    def all(self) -> list[Manifest]:
        """Every backup here whose manifest can be read."""
        found = []
        for path in sorted(self.folder.glob(f"*/{MANIFEST}")):
            try:
                manifest = self.manifest(UUID(path.parent.name))
            except (ValueError, BackupDamaged):
                continue
            if manifest is not None:
                found.append(manifest)
        return found

    def chain(self, backup_id: UUID, disk_id: UUID) -> list[tuple[Path, StoredDisk]]:
        """The files of a disk, that with the whole of it first. Raises BackupDamaged where one is missing."""
        files: list[tuple[Path, StoredDisk]] = []
        wanted: UUID | None = backup_id
        while wanted is not None:
            manifest = self.manifest(wanted)
            disks = manifest.files if manifest else ()
            disk = next((each for each in disks if each.id == disk_id), None)
            if manifest is None or disk is None:
                raise BackupDamaged(f"backup {wanted}, which this one needs, has no disk {disk_id}")
            path = self.home(wanted) / disk.file
            if not path.is_file() or path.stat().st_size != disk.stored_bytes:
                raise BackupDamaged(f"{path} is not there, or not of its size")
            if any(path == before for before, _ in files):
                raise BackupDamaged(f"{path} stands on itself")
            files.insert(0, (path, disk))
            wanted = manifest.previous if disk.incremental else None
        return files

    def clear_unfinished(self) -> None:
        """Remove what a killed worker has left. Nobody may be writing a backup of this machine."""
        for path in self.folder.glob("*.part"):
            shutil.rmtree(path, ignore_errors=True)
        for manifest in self.all():
            known = {MANIFEST, *(file.file for file in manifest.files)}
            for path in self.home(manifest.backup_id).iterdir():
                if path.name not in known:
                    path.unlink(missing_ok=True)

    @contextmanager
    def reading(self, between: Callable[[], None]) -> Iterator[None]:
        """Nothing is deleted meanwhile; `between` is called while that is waited for."""
        with self._locked(fcntl.LOCK_SH, between):
            yield

    @contextmanager
    def deleting(self) -> Iterator[None]:
        """Nobody reads or writes them meanwhile."""
        with self._locked(fcntl.LOCK_EX, lambda: None):
            yield

    @contextmanager
    def _locked(self, how: int, between: Callable[[], None]) -> Iterator[None]:
        self.lock.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, how | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    between()
                    time.sleep(0.1)
            yield
        finally:
            os.close(descriptor)


def write_manifest(home: Path, manifest: Manifest) -> None:
    """Replace what is written down of the backup in this folder, in one instant."""
    write_json(home / MANIFEST, manifest.to_wire())
    sync_folder(home)


def stored(
    path: Path,
    disk: Kept,
    size_bytes: int,
    *,
    incremental: bool,
    heard: Callable[[int], None],
) -> StoredDisk:
    """A file that qemu has written, looked at, cut to its length, summed up, and safe on the disk. Raises BackupFailed."""
    if not stands_alone(path):
        raise BackupFailed(f"{path} refers to another file")
    with path.open("rb+") as file:
        length = path.stat().st_size
        file.truncate(length)  # gives back what was reserved behind it
        os.fsync(file.fileno())
    digest = sum_of(path, heard)
    path.chmod(0o400)
    return StoredDisk(
        id=disk.id,
        slot=disk.slot,
        size_bytes=size_bytes,
        kind=disk.kind,
        file=path.name,
        stored_bytes=length,
        sha256=digest,
        incremental=incremental,
    )


def sum_of(path: Path, heard: Callable[[int], None]) -> str:
    """The SHA-256 of a file, in hex; `heard` is told the bytes of each piece. Raises OSError, and what `heard` raises."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            heard(len(block))
    return digest.hexdigest()


def stands_alone(path: Path) -> bool:
    """The header of a qcow2 file names no other file: what a guest's qemu has written is not believed."""
    with path.open("rb") as file:
        raw = file.read(_QCOW2.size)
    if len(raw) < _QCOW2.size:
        return False
    fields = _QCOW2.unpack(raw)
    magic, version, backing, encryption, incompatible = (fields[i] for i in (0, 1, 2, 6, 13))
    return bool(
        magic == b"QFI\xfb"
        and version == 3
        and not backing
        and not encryption
        and not incompatible & _EXTERNAL_DATA
    )


def sync_folder(folder: Path) -> None:
    """The names in a folder survive a power cut (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
