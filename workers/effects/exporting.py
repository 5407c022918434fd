"""Exporting a machine that is off: its disks as files that other virtualizers read, sent to the portal."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workers.contract.acts import ExportMachine
from workers.contract.disks import DiskSpec
from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.jobs import ExportFacts
from workers.effects.making import NotOff
from workers.effects.work import Work
from workers.host import bases, processes
from workers.host.backup_store import sum_of
from workers.host.commands import follow, run
from workers.host.copying import Account, check_chain
from workers.host.disks import DiskError, disk_errors, needs_room
from workers.host.files import read_json, write_json
from workers.host.sending import PortalsShelf, SendError
from workers.killpoints import reached
from workers.plan.disks import QEMU_IMG, format_of, measure_argv, percent_in
from workers.plan.ovf import ExportedDisk, descriptor, manifest

_MOST_SECONDS = 7 * 24 * 3600.0
_LOOK_SECONDS = 300.0
_LARGEST_OF_USTAR = 8 * 1024**3 - 1


class ExportFailed(OffshootError):
    """The machine could not be exported; nothing of it is left on the host."""

    code = ErrorCode.EXPORT_FAILED


def export_machine(work: Work) -> None:
    """Write the file; does nothing where it is written already. Raises NotOff, ExportFailed, DiskError."""
    act = _act(work)
    if processes.runs(work.folder):
        raise NotOff("the machine runs")
    if _note(work):
        return
    with _cleared_on_failure(work):
        home = work.folder.export
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(mode=0o700)
        os.chown(home, work.host.config.uid, work.host.config.gid)
        _require_room(work, act)
        files = [_convert(work, act, disk, number) for number, disk in enumerate(work.spec.disks, 1)]
        reached("disks exported")
        whole = files[0]
        if act.format == "ova" or len(files) > 1:
            whole = _packed(work, act, files)
        note = {
            "export": str(act.export_id),
            "file": whole.name,
            "size_bytes": whole.stat().st_size,
            "sha256": sum_of(whole, lambda _: work.end_early()),
        }
        write_json(home / "note.json", note)
    reached("export written")


def send_export(work: Work) -> None:
    """Hand the file to the portal, and remove it here. Raises SendError."""
    act, note = _act(work), _note(work)
    if note is None:
        raise ExportFailed("the file is not there")
    with _cleared_on_failure(work):
        shelf = _shelf(work, act)
        try:
            shelf.send(work.folder.export / str(note["file"]), tell=work.tell, between=work.end_early)
        finally:
            shelf.close()
        work.facts = ExportFacts(size_bytes=int(note["size_bytes"]), sha256=str(note["sha256"]))
    reached("export sent")
    shutil.rmtree(work.folder.export, ignore_errors=True)


def _act(work: Work) -> ExportMachine:
    if not isinstance(work.act, ExportMachine):
        raise TypeError("nothing to export")
    return work.act


def _note(work: Work) -> dict[str, str | int] | None:
    """What is written down of a file that is whole, of this very export."""
    raw = read_json(work.folder.export / "note.json")
    return raw if isinstance(raw, dict) and raw.get("export") == str(_act(work).export_id) else None


@contextmanager
def _cleared_on_failure(work: Work) -> Iterator[None]:
    try:
        with disk_errors():
            yield
    except DiskError as exc:
        shutil.rmtree(work.folder.export, ignore_errors=True)
        if exc.code is ErrorCode.DISK_FULL:
            raise
        raise ExportFailed(exc.detail) from exc
    except BaseException:
        shutil.rmtree(work.folder.export, ignore_errors=True)
        raise


def _shelf(work: Work, act: ExportMachine) -> PortalsShelf:
    config = work.host.config
    return PortalsShelf(portal_url=config.portal_url, fleet_key=config.fleet_key, export_id=act.export_id)


def _require_room(work: Work, act: ExportMachine) -> None:
    """Here and at the portal, before anything is written. Compressed it takes less; how much less is not known."""
    config = work.host.config
    account = Account(config.uid, config.gid)
    wanted = 0
    for disk in work.spec.disks:
        path = work.host.disk_file(work.spec.machine_id, disk)
        check_chain(path, disk.kind, account, (*bases.base_folders(config), config.state.images))
        argv = measure_argv(path, disk.kind)
        told = run(argv, seconds=_LOOK_SECONDS, user=account.uid, group=account.gid)
        wanted += int(json.loads(told.stdout)["required"])
    packed = act.format == "ova" or len(work.spec.disks) > 1
    needs_room(work.folder.root, wanted * (2 if packed else 1))
    shelf = _shelf(work, act)
    try:
        room = shelf.room_bytes()
    finally:
        shelf.close()
    if room < wanted:
        mib = 1024 * 1024
        raise SendError(f"up to {wanted // mib} MiB, and the site has room for {room // mib} MiB")


def _convert(work: Work, act: ExportMachine, disk: DiskSpec, number: int) -> Path:
    """The disk as one file that stands on nothing."""
    target = work.folder.export / f"disk{number}.{'vmdk' if act.format == 'ova' else 'qcow2'}"
    how = ("-O", "vmdk", "-o", "subformat=streamOptimized") if act.format == "ova" else ("-O", "qcow2", "-c")
    source = work.host.disk_file(work.spec.machine_id, disk)
    count = len(work.spec.disks)

    def heard(line: str) -> None:
        percent = percent_in(line)
        if percent is not None:
            work.tell((100 * (number - 1) + percent) // count)

    follow(
        (QEMU_IMG, "convert", "-p", "-f", format_of(disk.kind), *how, str(source), str(target)),
        seconds=_MOST_SECONDS,
        heard=heard,
        between=work.end_early,
        user=work.host.config.uid,
        group=work.host.config.gid,
    )
    return target


def _packed(work: Work, act: ExportMachine, files: list[Path]) -> Path:
    """One tar of all; of an OVA the descriptor is the first in it, then the sums."""
    home = work.folder.export
    parts: list[Path] = []
    if act.format == "ova":
        disks = [
            ExportedDisk(path.name, disk.size_bytes, path.stat().st_size)
            for path, disk in zip(files, work.spec.disks, strict=True)
        ]
        about = home / "machine.ovf"
        about.write_bytes(descriptor(work.spec, disks))
        sums = home / "machine.mf"
        told = [(path.name, sum_of(path, lambda _: work.end_early())) for path in (about, *files)]
        sums.write_bytes(manifest(told))
        parts = [about, sums]
    whole = home / f"machine.{'ova' if act.format == 'ova' else 'tar'}"
    large = any(path.stat().st_size > _LARGEST_OF_USTAR for path in files)
    with tarfile.open(whole, "w", format=tarfile.GNU_FORMAT if large else tarfile.USTAR_FORMAT) as tar:
        for path in (*parts, *files):
            work.end_early()
            entry = tarfile.TarInfo(path.name)
            entry.size, entry.mode = path.stat().st_size, 0o644
            with path.open("rb") as file:
                tar.addfile(entry, file)
            path.unlink()
    return whole
