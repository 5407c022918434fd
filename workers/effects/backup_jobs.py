"""What is done with backups that are there: verified, deleted, made into disks of a new machine."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from workers.contract.disks import BackupOrigin, DiskKind, DiskSpec
from workers.contract.errors import ErrorCode
from workers.contract.jobs import BackupFacts, DeleteBackup, VerifyBackup
from workers.effects.making import DiskShrinks, OriginFailed
from workers.effects.work import Work
from workers.host.backup_store import (
    BackupDamaged,
    BackupFailed,
    Store,
    stands_alone,
    stored,
    sum_of,
    sync_folder,
    write_manifest,
)
from workers.host.blocks import Blocks, CopyError, copier
from workers.host.commands import CommandError, run
from workers.host.disks import make_empty
from workers.host.monitor import MonitorError
from workers.killpoints import reached
from workers.plan.backups import MANIFEST, Manifest, StoredDisk
from workers.plan.disks import QEMU_IMG, format_of
from workers.this_host import Host

Tell = Callable[[int], None]
_CHECK_SECONDS = 3600.0


def verify_backup(host: Host, job: VerifyBackup, tell: Tell) -> BackupFacts:
    """Read a backup and all that it stands on, and compare. Raises BackupDamaged, PlaceMissing."""
    store = host.backup_store(job.place, job.machine_id)
    with store.reading(lambda: None):
        manifest = _there(store, job.backup_id)
        files = dict(each for file in manifest.files for each in store.chain(job.backup_id, file.id))
        total, done = sum(disk.stored_bytes for disk in files.values()), 0

        def heard(size: int) -> None:
            nonlocal done
            done += size
            tell(100 * done // max(total, 1))

        for path, disk in files.items():
            try:
                found = sum_of(path, heard)
            except OSError as exc:
                raise BackupDamaged(f"{path} cannot be read: {exc.strerror}") from exc
            if found != disk.sha256:
                raise BackupDamaged(f"{path} has another sum than when it was written")
            _check(path, host)
    return BackupFacts(stored_bytes=manifest.stored_bytes, incremental=manifest.is_incremental)


def delete_backup(host: Host, job: DeleteBackup, tell: Tell) -> None:
    """Remove a backup; those that stand on it take from it what they need first. Raises BackupDamaged, BackupFailed."""
    store = host.backup_store(job.place, job.machine_id)
    if not store.folder.exists():
        return
    with store.deleting():
        store.clear_unfinished()
        manifest = store.manifest(job.backup_id)
        if manifest is not None:
            for later in store.all():
                if later.previous == manifest.backup_id:
                    _take_over(host, store, manifest, later, tell)
        home = store.home(job.backup_id)
        (home / MANIFEST).unlink(missing_ok=True)  # from here on it is none any more
        reached("backup forgotten")
        shutil.rmtree(home, ignore_errors=True)
        if not any(store.folder.iterdir()):
            store.folder.rmdir()
            store.lock.unlink(missing_ok=True)


def from_backup(work: Work, disk: DiskSpec, draft: Path) -> None:
    """A disk as it was when a backup was taken. Raises BackupDamaged, OriginFailed, PlaceMissing."""
    origin = disk.origin
    if not isinstance(origin, BackupOrigin):
        raise TypeError("not made from a backup")
    store = work.host.backup_store(origin.place, origin.machine_id)
    try:
        with store.reading(work.end_early), copier(work.host.monitors, work.host.config) as blocks:
            chain = store.chain(origin.backup_id, origin.disk_id)
            size = chain[-1][1].size_bytes
            if disk.size_bytes < size:
                raise DiskShrinks(f"{disk.size_bytes} bytes wanted, the backup has {size}")
            source = _opened(blocks, chain)
            make_empty(disk.model_copy(update={"size_bytes": size}), draft, lambda _: None)
            target = blocks.open("to", draft, format_of(disk.kind), writable=True)
            blocks.copy(source, target, "full", tell=work.tell, between=work.end_early)
            blocks.do("blockdev-del", node_name=target)
            _restore_variables(work, store, origin.backup_id, blocks)
    except (CopyError, MonitorError) as exc:
        if os.strerror(errno.ENOSPC) in exc.detail:
            raise OSError(errno.ENOSPC, exc.detail) from exc
        raise OriginFailed(exc.detail) from exc
    if disk.size_bytes > size:
        os.chown(draft, work.host.config.uid, work.host.config.gid)
        argv = (QEMU_IMG, "resize", "-q", "-f", format_of(disk.kind), str(draft), str(disk.size_bytes))
        run(argv, seconds=_CHECK_SECONDS, user=work.host.config.uid, group=work.host.config.gid)


def _restore_variables(work: Work, store: Store, backup_id: UUID, blocks: Blocks) -> None:
    """What the UEFI remembered, boot entries say, comes with the first of the disks."""
    manifest = _there(store, backup_id)
    path = work.folder.variables_file(work.spec.firmware)
    kept = manifest.variables
    if kept is None or manifest.spec.firmware is not work.spec.firmware or path.exists():
        return
    draft = path.with_suffix(".qcow2.part")
    try:
        draft.unlink(missing_ok=True)
        run((QEMU_IMG, "create", "-q", "-f", "qcow2", str(draft), str(kept.size_bytes)), seconds=60)
        source = blocks.open("variables", store.home(backup_id) / kept.file, "qcow2", writable=False)
        target = blocks.open("to", draft, "qcow2", writable=True)
        blocks.copy(source, target, "full", tell=lambda _: None, between=work.end_early)
        blocks.do("blockdev-del", node_name=target)
        blocks.do("blockdev-del", node_name=source)
        os.chown(draft, work.host.config.uid, work.host.config.gid)
        draft.chmod(0o600)
        draft.rename(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _there(store: Store, backup_id: UUID) -> Manifest:
    manifest = store.manifest(backup_id)
    if manifest is None:
        raise BackupDamaged(f"{store.home(backup_id)} is not there")
    return manifest


def _check(path: Path, host: Host) -> None:
    """qemu-img's own look at the file, as qemu's account and at this file alone."""
    if not stands_alone(path):
        raise BackupDamaged(f"{path} refers to another file")
    os.chown(path, 0, host.config.gid)
    path.chmod(0o440)
    with path.open("rb") as file:
        name = {"driver": "file", "filename": f"/proc/self/fd/{file.fileno()}", "locking": "off"}
        image = json.dumps({"driver": "qcow2", "backing": None, "file": name})
        try:
            run(
                (QEMU_IMG, "check", "-q", f"json:{image}"),
                seconds=_CHECK_SECONDS,
                pass_fds=(file.fileno(),),
                user=host.config.uid,
                group=host.config.gid,
                urgent=False,
            )
        except CommandError as exc:
            raise BackupDamaged(f"{path}: {exc.detail}") from exc


def _take_over(host: Host, store: Store, gone: Manifest, later: Manifest, tell: Tell) -> None:
    """`later` gets files that no longer need `gone`; its manifest changes from the old ones to the new ones at once."""
    home = store.home(later.backup_id)
    have = {disk.id: disk for disk in gone.disks}
    disks: list[StoredDisk] = []
    try:
        for disk in later.disks:
            below = have.get(disk.id) if disk.incremental else None
            if below is None:
                disks.append(disk)
                continue
            files = (store.home(gone.backup_id) / below.file, home / disk.file)
            disks.append(_merged(host, files, disk, below, tell))
    except (OSError, CommandError, CopyError, MonitorError) as exc:
        store.clear_unfinished()
        full = getattr(exc, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(exc)
        raise BackupFailed(str(exc), code=ErrorCode.PLACE_FULL if full else ErrorCode.BACKUP_FAILED) from exc
    sync_folder(home)
    reached("backup merged")
    previous = gone.previous if any(disk.incremental for disk in disks) else None
    write_manifest(home, later.model_copy(update={"disks": tuple(disks), "previous": previous}))
    reached("backup stands alone")
    store.clear_unfinished()  # the files that it had before


def _merged(
    host: Host, files: tuple[Path, Path], disk: StoredDisk, below: StoredDisk, tell: Tell
) -> StoredDisk:
    """One file with what is in both; what is in the later one counts."""
    path = files[1].parent / f"{disk.id}.{secrets.token_hex(4)}.qcow2"
    run((QEMU_IMG, "create", "-q", "-f", "qcow2", str(path), str(disk.size_bytes)), seconds=60)
    with copier(host.monitors, host.config) as blocks:
        target = blocks.open("to", path, "qcow2", writable=True)
        for number, source in enumerate(files):
            node = blocks.open(f"from-{number}", source, "qcow2", writable=False)
            blocks.copy(
                node,
                target,
                "top",
                tell=lambda percent, number=number: tell(45 * number + percent * 45 // 100),  # type: ignore[misc]
                between=lambda: None,
            )
    return stored(path, disk, disk.size_bytes, incremental=below.incremental, heard=lambda _: None)


def _opened(blocks: Blocks, chain: list[tuple[Path, StoredDisk]]) -> str:
    """The nodes of a chain, each standing on the one before; the name of the last."""
    node: str | None = None
    for number, (path, _disk) in enumerate(chain):
        node = blocks.open(f"from-{number}", path, format_of(DiskKind.GROWING), writable=False, backing=node)
    return str(node)
