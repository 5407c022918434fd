"""What a host remembers of each machine across crashes: the newest wish, how it ended, and who is gone."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import structlog

from workers.contract.errors import MessageError
from workers.contract.messages import ApplyMachine, EndReason, Progress
from workers.contract.version import from_wire
from workers.host.files import read_json, write_json
from workers.host.locks import locked
from workers.killpoints import reached
from workers.plan.names import MachineFolder, StateFolder

log = structlog.get_logger()
_TOMBSTONE_SECONDS = 30 * 24 * 3600


@dataclass(frozen=True)
class Ended:
    """A run that is over."""

    run: int
    reason: EndReason
    detail: str


def prepare(state: StateFolder) -> None:
    """The folders of a host: root's, entered by qemu's account, listed by nobody else."""
    state.root.mkdir(parents=True, exist_ok=True)
    for folder in (state.root, state.machines, state.images, state.networks, state.bases):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o711)
    state.tombstones.mkdir(exist_ok=True, mode=0o700)
    for folder in state.tombstones.glob("*.gone"):
        _discard(folder)


def accept(state: StateFolder, message: ApplyMachine, *, gid: int) -> bool:
    """Remember the message unless a newer one is known; False where it came too late.

    It is written before anything is done, so that a worker that is killed goes on where it was. Where the machine was
    removed by this very wish nothing is written: `is_removed` says so.
    """
    machine_id = message.spec.machine_id
    with locked(state.accept_lock):
        if message.spec.generation < max(_buried(state, machine_id), newest_generation(state, machine_id)):
            return False
        if is_removed(state, machine_id, message.spec.generation):
            return True
        folder = state.machine(machine_id)
        folder.root.mkdir(exist_ok=True)
        # Entered by qemu's group, so that it reaches `run` and its disks; root's files stay root's.
        shutil.chown(folder.root, 0, gid)
        folder.root.chmod(0o710)
        # There before the wish is: on a full disk either both are or the wish is refused.
        folder.apply_lock.touch(mode=0o600)
        write_json(folder.wish_file, message.to_wire())
    return True


def newest_wish(folder: MachineFolder) -> ApplyMachine | None:
    """The newest accepted message, None where there is none that this version reads."""
    wire = read_json(folder.wish_file)
    if wire is None:
        return None
    try:
        return from_wire(ApplyMachine, wire)
    except MessageError:
        return None


def newest_generation(state: StateFolder, machine_id: UUID) -> int:
    """The generation of the newest accepted message; 0 where there is none."""
    wish = newest_wish(state.machine(machine_id))
    return wish.spec.generation if wish else 0


def remember_handled(folder: MachineFolder, progress: Progress) -> None:
    """The operation has ended like this."""
    write_json(folder.handled_file, progress.to_wire())


def handled(folder: MachineFolder) -> Progress | None:
    """How the last operation ended."""
    wire = read_json(folder.handled_file)
    try:
        return from_wire(Progress, wire) if wire is not None else None
    except MessageError:
        return None  # of another version: the wish is applied once more, which changes nothing


def remember_ended(folder: MachineFolder, ended: Ended) -> None:
    """This run is over and is not to be started again by itself."""
    write_json(folder.ended_file, {"run": ended.run, "reason": ended.reason.value, "detail": ended.detail})


def ended(folder: MachineFolder) -> Ended | None:
    """The last run that is over."""
    raw = read_json(folder.ended_file)
    try:
        return Ended(int(raw["run"]), EndReason(raw["reason"]), str(raw["detail"])) if raw else None
    except (KeyError, TypeError, ValueError):
        return None  # of another version


def bury(state: StateFolder, machine_id: UUID, generation: int) -> None:
    """Remove every file of a machine; what stays is its last generation, against late messages.

    The folder is first moved out of the way in one step, so that nobody finds half of a machine; and never while the
    same wish, come once more, is being written into it.
    """
    folder = state.machine(machine_id)
    gone = state.tombstones / f"{machine_id}.gone"
    with locked(state.accept_lock):
        write_json(_tombstone(state, machine_id), {"generation": generation})
        reached("tombstone written")
        if folder.root.exists():
            folder.root.rename(gone)
    reached("folder moved away")
    _discard(gone)
    oldest = time.time() - _TOMBSTONE_SECONDS
    for stone in state.tombstones.glob("*.json"):
        if stone.stat().st_mtime < oldest:
            stone.unlink(missing_ok=True)


def is_buried(state: StateFolder, machine_id: UUID) -> bool:
    """The machine was removed from this host."""
    return _buried(state, machine_id) > 0


def is_removed(state: StateFolder, machine_id: UUID, generation: int) -> bool:
    """The wish of this generation was to remove the machine, and nothing of it is left."""
    return _buried(state, machine_id) >= generation and not state.machine(machine_id).root.exists()


def _discard(folder: Path) -> None:
    """Remove a folder that was moved out of the way; where that fails it is tried again at the worker's next start."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as exc:
        log.warning("files of a deleted machine stay", folder=str(folder), error=str(exc))


def _buried(state: StateFolder, machine_id: UUID) -> int:
    raw = read_json(_tombstone(state, machine_id))
    return int(raw["generation"]) if raw else 0


def _tombstone(state: StateFolder, machine_id: UUID) -> Path:
    return state.tombstones / f"{machine_id}.json"
