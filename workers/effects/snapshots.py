"""Snapshots of a machine: taking one, going back to one, forgetting one; and settling what a killed worker has begun.

A journal in the machine's folder says what is being done. Whoever comes next, with the same wish or another, finds it
and takes back what is half-made, so that there is a whole snapshot or none, and all disks of one time or of the other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from uuid import UUID

import structlog

from workers.contract.acts import DeleteSnapshot, RevertToSnapshot, TakeSnapshot
from workers.contract.disks import DiskKind
from workers.contract.jobs import SnapshotFacts
from workers.contract.spec import MachineSpec, Power
from workers.contract.version import from_wire
from workers.effects import ending, launching
from workers.effects.launching import MemoryShort
from workers.effects.saving import what_runs
from workers.effects.work import Work
from workers.host import moment, processes, saved, tpm_copies
from workers.host.agent import frozen
from workers.host.facts import host_usage
from workers.host.files import read_json, write_json
from workers.host.made import made_disks
from workers.host.saved import Saved
from workers.host.shelf import Shelf, shelf_of
from workers.host.volumes import SnapshotFailed, SnapshotMissing, Volumes, volumes_of
from workers.killpoints import reached
from workers.plan.names import MachineFolder
from workers.plan.qemu import SECOND_DRIVE, qemu_argv
from workers.plan.snapshots import BEFORE, name_of

log = structlog.get_logger()


@dataclass(frozen=True)
class _Begun:
    """What the journal says. `stood_still`: the machine did before its snapshot; `is_back`: all of it is of then."""

    operation_id: UUID
    snapshot_id: UUID
    going_back: bool
    stood_still: bool = False
    is_back: bool = False


def take_snapshot(work: Work) -> None:
    """Keep the machine as it is now. Raises SnapshotFailed, MomentError or Superseded; then nothing of it is left."""
    act = work.act
    if not isinstance(act, TakeSnapshot):
        raise TypeError("no snapshot to take")
    shelf = shelf_of(work.folder, act.snapshot_id)
    if not shelf.is_whole():
        volumes = _volumes(work)
        begun = _begin(work, act.snapshot_id, stood_still=_stands_still(work))
        try:
            shelf.open()
            reached("snapshot begun")
            shelf.note(_keep(work, act, shelf, volumes, begun))
        except BaseException as exc:
            _undo_taking(work, begun)
            if isinstance(exc, (moment.MomentError, OSError)):
                raise SnapshotFailed(str(exc)) from exc
            raise
        reached("snapshot noted")
    work.folder.snapshot_journal.unlink(missing_ok=True)
    memory = shelf.memory_file
    work.facts = SnapshotFacts(memory_bytes=memory.stat().st_size if memory.exists() else 0)


def revert_to_snapshot(work: Work) -> None:
    """Make the disks, and what lies beside them, what they were; the machine is off then. All of it or nothing.

    Where the snapshot has memory, that lies there as a hibernated machine's: waking goes on from it. Everything that can
    be seen beforehand is looked at before the machine is ended. Raises SnapshotMissing, SnapshotFailed, MemoryShort.
    """
    act = work.act
    if not isinstance(act, RevertToSnapshot):
        raise TypeError("no snapshot to go back to")
    shelf = shelf_of(work.folder, act.snapshot_id)
    volumes = _less_later_firmware(work, _volumes(work), name_of(act.snapshot_id))
    begun = _read_journal(work.folder)
    if begun is None:
        _look_before_going_back(work, act, shelf, volumes)
        begun = _begin(work, act.snapshot_id, going_back=True)
        reached("going back begun")
    if processes.runs(work.folder):
        ending.stop(work)
    volumes = volumes.closed()
    if not begun.is_back:
        try:
            volumes.keep(BEFORE)
            reached("kept before going back")
            volumes.put_back(name_of(act.snapshot_id))
            reached("disks put back")
            tpm_copies.put_back(work.folder.tpm, shelf.tpm)
            saved.discard(work.folder)
            if act.memory:
                _lay_memory_ready(work, shelf)
        except Exception as exc:
            _undo_going_back(work, volumes)
            if isinstance(exc, OSError):
                raise SnapshotFailed(str(exc)) from exc
            raise
        _write_journal(work, _Begun(begun.operation_id, begun.snapshot_id, going_back=True, is_back=True))
        reached("back noted")
    _finish_going_back(work, volumes)


def delete_snapshot(work: Work) -> None:
    """Forget a snapshot, also while the machine runs; harmless where it is not there. Raises SnapshotFailed."""
    act = work.act
    if not isinstance(act, DeleteSnapshot):
        raise TypeError("no snapshot to delete")
    shelf = shelf_of(work.folder, act.snapshot_id)
    shelf.record_file.unlink(missing_ok=True)
    reached("snapshot forgotten")
    volumes = _volumes(work, whatever_they_are=True)
    with _at_rest(work, stood_still=_stands_still(work)):
        volumes.forget(name_of(act.snapshot_id))
    shelf.clear()


def settle_unfinished(work: Work) -> None:
    """Take back what was begun and not ended, unless this very operation goes on with it. Call it under the apply lock.

    Where it cannot be taken back and the machine is to be off, that is left for the next time. Raises OffshootError.
    """
    begun = _read_journal(work.folder)
    if begun is None or work.spec.power is Power.GONE:
        return
    if begun.going_back and begun.operation_id == work.message.operation_id:
        return
    log.info("settling", machine=str(work.spec.machine_id), going_back=begun.going_back)
    try:
        if not begun.going_back:
            if not shelf_of(work.folder, begun.snapshot_id).is_whole():
                _undo_taking(work, begun)
        elif begun.is_back:
            _finish_going_back(work, _volumes(work, whatever_they_are=True))
        else:
            _undo_going_back(work, _volumes(work, whatever_they_are=True))
    except Exception:
        if work.spec.power is not Power.OFF:
            raise
        log.exception("not settled", machine=str(work.spec.machine_id))
        return
    work.folder.snapshot_journal.unlink(missing_ok=True)


def _keep(work: Work, act: TakeSnapshot, shelf: Shelf, volumes: Volumes, begun: _Begun) -> Saved | None:
    """Disks, TPM and, where wanted, memory of one instant; what ran then, where its memory was kept."""
    host, folder, name = work.host, work.folder, name_of(act.snapshot_id)

    def disks_and_tpm() -> None:
        volumes.keep(name)
        tpm_copies.keep(work.folder.tpm, shelf.tpm)

    if not processes.runs(folder):
        disks_and_tpm()
    elif not act.memory:
        with frozen(host.monitors, folder), _at_rest(work, stood_still=begun.stood_still):
            disks_and_tpm()
        reached("disks kept")
    else:
        ran = what_runs(work)
        moment.keep_memory(
            folder.qmp_socket,
            host.monitors,
            shelf.memory_file,
            stood_still=begun.stood_still,
            at_the_instant=disks_and_tpm,
            tell=work.tell,
            end_early=work.end_early,
        )
        return ran
    return None


def _look_before_going_back(work: Work, act: RevertToSnapshot, shelf: Shelf, volumes: Volumes) -> None:
    if not shelf.is_whole():
        raise SnapshotMissing("it is not on this host")
    lacking = volumes.lacking(name_of(act.snapshot_id))
    if lacking:
        raise SnapshotMissing(f"not in {', '.join(path.name for path in lacking)}")
    ran = shelf.ran()
    if act.memory:
        if ran is None:
            raise SnapshotMissing("its memory is not there")
        if ran.accelerator != work.host.accelerator:
            raise SnapshotFailed(
                f"its memory is of a machine under {ran.accelerator}, this host has {work.host.accelerator}"
            )
    if work.spec.power is Power.RUNNING:
        free = host_usage(work.host.config.state.root).memory_free_mib + _memory_in_use_mib(work)
        if work.spec.memory_mib > free:
            raise MemoryShort(f"{work.spec.memory_mib} MiB wanted, {free} MiB free")


def _memory_in_use_mib(work: Work) -> int:
    """What becomes free when the machine is ended."""
    if not processes.runs(work.folder):
        return 0
    return from_wire(MachineSpec, processes.launched(work.folder)["spec"]).memory_mib


def _lay_memory_ready(work: Work, shelf: Shelf) -> None:
    """The snapshot's memory lies there as if the machine had been hibernated then; the same file under a second name."""
    ran = shelf.ran()
    if ran is None:
        raise SnapshotMissing("its memory is not there")
    of_now = {each: getattr(work.spec, each) for each in ("run", "generation", "disc", "second_disc")}
    spec = ran.spec.model_copy(update=of_now)
    same_discs = (spec.disc, spec.second_disc) == (ran.spec.disc, ran.spec.second_disc)
    argv = ran.argv if same_discs else _argv_for(work, spec, ran.argv)
    draft = work.folder.memory_draft
    draft.unlink(missing_ok=True)
    os.link(shelf.memory_file, draft)
    saved.keep(work.folder, Saved(work.spec.run, spec, ran.accelerator, argv))


def _argv_for(work: Work, spec: MachineSpec, before: tuple[str, ...]) -> tuple[str, ...]:
    """The command of that time with other discs. The numbers of its network and TPM mean nothing: each start has its own."""
    choices = launching.choices_for(
        work.host,
        spec,
        work.folder,
        tuple(range(len(spec.nics))),
        tpm_fd=0 if spec.tpm else None,
        # It came with a disc and stayed when that was taken out.
        second_drive=any(f'"id":"{SECOND_DRIVE.device}"' in argument for argument in before),
    )
    return qemu_argv(spec, choices)


def _undo_taking(work: Work, begun: _Begun) -> None:
    """The machine goes on, and nothing of the snapshot is left."""
    shelf = shelf_of(work.folder, begun.snapshot_id)
    shelf.record_file.unlink(missing_ok=True)
    if processes.runs(work.folder):
        moment.go_on(work.folder.qmp_socket, work.host.monitors, stood_still=begun.stood_still)
    _volumes(work, whatever_they_are=True).forget(name_of(begun.snapshot_id))
    shelf.clear()
    work.folder.snapshot_journal.unlink(missing_ok=True)


def _undo_going_back(work: Work, volumes: Volumes) -> None:
    """Everything is what it was before, as far as it had been touched."""
    touched = volumes.holding(BEFORE)
    touched.put_back(BEFORE)
    tpm_copies.take_back(work.folder.tpm)
    touched.forget(BEFORE)
    work.folder.snapshot_journal.unlink(missing_ok=True)


def _finish_going_back(work: Work, volumes: Volumes) -> None:
    volumes.forget(BEFORE)
    tpm_copies.settle(work.folder.tpm)
    work.folder.snapshot_journal.unlink(missing_ok=True)


def _volumes(work: Work, *, whatever_they_are: bool = False) -> Volumes:
    """The files of the machine that hold snapshots. Raises SnapshotFailed for a fixed disk, unless `whatever_they_are`."""
    made, paths = made_disks(work.folder), []
    for disk in work.spec.disks:
        spot = made[disk.id].spot if disk.id in made else None
        if spot is None and whatever_they_are:
            continue
        if (spot.kind if spot else disk.kind) is DiskKind.FIXED:
            if whatever_they_are:
                continue
            raise SnapshotFailed("a fixed disk has no snapshots: make it a growing one first")
        paths.append(
            work.host.disk_at(work.spec.machine_id, disk.id, spot)
            if spot
            else work.host.disk_file(work.spec.machine_id, disk)
        )
    paths += sorted(work.folder.root.glob("firmware-*.qcow2"))
    return volumes_of(
        paths,
        runs=processes.runs(work.folder),
        socket=work.folder.qmp_socket,
        monitors=work.host.monitors,
        uid=work.host.config.uid,
        gid=work.host.config.gid,
    )


def _less_later_firmware(work: Work, volumes: Volumes, name: str) -> Volumes:
    """Without the variables of a firmware that the machine got after the snapshot: they have nothing to go back to, and stay."""
    stores = set(work.folder.root.glob("firmware-*.qcow2"))
    return replace(
        volumes, each=tuple(v for v in volumes.each if v.path not in stores or name in volumes.names(v))
    )


@contextmanager
def _at_rest(work: Work, *, stood_still: bool) -> Iterator[None]:
    """Nobody writes to its disks meanwhile."""
    with ExitStack() as stack:
        if processes.runs(work.folder):
            socket, monitors = work.folder.qmp_socket, work.host.monitors
            stack.enter_context(moment.standing_still(socket, monitors, stood_still=stood_still))
        yield


def _stands_still(work: Work) -> bool:
    if not processes.runs(work.folder):
        return False
    [status] = work.host.monitors.execute(work.folder.qmp_socket, ("query-status", {}))
    return not status["running"]


def _begin(work: Work, snapshot_id: UUID, *, going_back: bool = False, stood_still: bool = False) -> _Begun:
    begun = _Begun(work.message.operation_id, snapshot_id, going_back, stood_still)
    _write_journal(work, begun)
    return begun


def _write_journal(work: Work, begun: _Begun) -> None:
    about = {
        "operation": str(begun.operation_id),
        "snapshot": str(begun.snapshot_id),
        "going_back": begun.going_back,
        "stood_still": begun.stood_still,
        "is_back": begun.is_back,
    }
    write_json(work.folder.snapshot_journal, about)


def _read_journal(folder: MachineFolder) -> _Begun | None:
    raw = read_json(folder.snapshot_journal)
    try:
        return (
            _Begun(
                UUID(raw["operation"]),
                UUID(raw["snapshot"]),
                bool(raw["going_back"]),
                bool(raw["stood_still"]),
                bool(raw["is_back"]),
            )
            if raw
            else None
        )
    except (KeyError, TypeError, ValueError):
        return None  # of another version
