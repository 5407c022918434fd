"""Hibernating: a machine's memory goes to a file and its qemu ends; later another qemu goes on from there.

At every instruction either a qemu lives that is the machine, or a whole saved memory lies there, or both say the same.
"""

from __future__ import annotations

from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.messages import EndReason
from workers.contract.spec import MachineSpec
from workers.contract.version import from_wire
from workers.effects import launching
from workers.effects.power import NotRunning, resume
from workers.effects.work import Superseded, Work
from workers.host import memory, processes, saved, wishes
from workers.host.monitor import MonitorError, run_state
from workers.killpoints import reached
from workers.observation import settle_ended
from workers.plan.changes import as_started, limited_as
from workers.plan.qemu import qemu_argv


class SaveFailed(OffshootError):
    """Its memory could not be saved; it goes on as it was."""

    code = ErrorCode.SAVE_FAILED


class WakeFailed(OffshootError):
    """It could not go on from its saved memory, which is kept."""

    code = ErrorCode.WAKE_FAILED


def save(work: Work) -> None:
    """Write its memory to a file, then end qemu. Raises SaveFailed, and then it goes on as it was."""
    folder, monitors = work.folder, work.host.monitors
    if not processes.runs(folder):
        raise NotRunning("it ended before its memory was saved")
    status = run_state(folder.qmp_socket, monitors)
    if status == "postmigrate" and saved.saved(folder) is not None:
        _end(work)  # killed between the two
        return
    memory.stop_writing(folder.qmp_socket, monitors)
    if status in ("postmigrate", "finish-migrate"):
        # Written, but nobody saw it: qemu writes again only after it has gone on.
        monitors.execute(folder.qmp_socket, ("cont", {}))
    room = memory.room_mib(folder.root)
    if room < memory.KEPT_FREE_MIB:
        raise SaveFailed(f"the host's disk has {room} MiB free")
    try:
        monitors.execute(folder.qmp_socket, ("stop", {}))
        reached("stands still")
        memory.write(
            folder.qmp_socket, monitors, folder.memory_draft, tell=work.tell, end_early=work.end_early
        )
        reached("memory drafted")
        saved.keep(folder, what_runs(work))
    except Superseded:
        saved.discard(folder)
        raise  # the newer wish says how it goes on
    except (memory.StateError, MonitorError, OSError) as exc:
        saved.discard(folder)
        if status != "paused":
            resume(work)
        raise SaveFailed(str(exc)) from exc
    _end(work)


def wake(work: Work) -> None:
    """Start a qemu with the hardware of then, have it read its memory, and let it go on.

    Raises WakeFailed, or MemoryShort; then no qemu is left and the saved memory is.
    """
    folder = work.folder
    before = saved.saved(folder)
    if before is None:
        raise WakeFailed("there is no saved memory")
    then = work.as_it_was(limited_as(before.spec, work.spec))
    launching.fetch_disc(then)
    launching.prepare_network(then)
    try:
        launching.start(
            then,
            then.spec,
            accelerator="kvm" if before.accelerator == "kvm" else "tcg",
            argv_before=before.argv,
            more=memory.WAITING,
        )
        reached("qemu waits for its memory")
        memory.read(folder.qmp_socket, work.host.monitors, folder.memory_file, end_early=work.end_early)
        reached("memory read")
    except Superseded:
        _end(work)
        raise
    except launching.MemoryShort:
        raise
    except (OffshootError, OSError) as exc:
        words = _end(work)
        raise WakeFailed("\n".join(part for part in (str(exc), words) if part)) from exc
    resume(work)


def discard_saved(work: Work) -> None:
    """Throw the saved memory away: the machine is then as after its plug was pulled."""
    settle_ended(work.host, work.folder, work.spec.machine_id)
    before = saved.saved(work.folder)
    saved.discard(work.folder)
    if before is not None:
        wishes.remember_ended(work.folder, wishes.Ended(before.run, EndReason.PERSON, ""))


def _end(work: Work) -> str:
    """End the qemu that is no longer, or not yet, the machine; its last words."""
    processes.kill(work.folder, work.spec.machine_id, work.host.monitors)
    words = processes.exit_words(work.folder, work.spec.machine_id)
    settle_ended(work.host, work.folder, work.spec.machine_id)
    return words


def what_runs(work: Work) -> saved.Saved:
    """What the living qemu is: the command as it was run, or made anew where its hardware was changed meanwhile."""
    record = processes.launched(work.folder)
    spec = from_wire(MachineSpec, record["spec"])
    known = (spec.disc, spec.second_disc, work.spec.disc, work.spec.second_disc)
    discs = {str(disc.image_id): disc for disc in known if disc is not None}
    drives = {key: discs.get(str(record.get(key))) for key in ("disc", "second_disc")}
    spec = spec.model_copy(update=drives)
    argv = tuple(record["argv"])
    at_start = from_wire(MachineSpec, record.get("spec_at_start", record["spec"]))
    if as_started(limited_as(spec, at_start)) != at_start:  # limits are no part of the command
        choices = launching.choices_for(
            work.host,
            spec,
            work.folder,
            tuple(range(len(spec.nics))),  # they are others at each start
            tpm_fd=0 if spec.tpm else None,
            # It came with a disc and stays when that is taken out.
            second_drive=at_start.has_second_drive,
        )
        argv = qemu_argv(spec, choices)
    argv = tuple(argument for argument in argv if argument not in memory.WAITING)
    return saved.Saved(int(record.get("run", 0)), spec, str(record.get("accelerator", "tcg")), argv)
