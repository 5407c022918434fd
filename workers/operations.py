"""Making the host match a wish: wanted against found gives steps, each step is an effect, each is reported.

Whatever instruction a worker is killed at, the same call made again ends in the same place.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import structlog

from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.messages import (
    ApplyMachine,
    EndReason,
    ErrorReport,
    OperationState,
    Progress,
    Step,
    StepReport,
    StepState,
)
from workers.contract.spec import MachineSpec, Power
from workers.host import disks, library, networks, processes, wishes
from workers.host.boot import boot_id
from workers.host.facts import host_usage
from workers.host.files import write_json
from workers.host.locks import locked
from workers.host.monitor import MonitorError
from workers.killpoints import reached
from workers.observation import find, observe, settle_ended
from workers.plan.names import MachineFolder
from workers.plan.qemu import HostChoices, disc_blockdev, qemu_argv
from workers.plan.steps import steps_for
from workers.this_host import Host

ASK_SECONDS = 60.0
log = structlog.get_logger()


class GuestIgnored(OffshootError):
    """The guest was asked to shut down and did not."""

    code = ErrorCode.GUEST_IGNORED_SHUTDOWN


class Superseded(OffshootError):
    """A newer wish came while this one was being carried out."""

    code = ErrorCode.SUPERSEDED


class MemoryShort(OffshootError):
    """The host has less memory free than the machine wants."""

    code = ErrorCode.MEMORY_SHORT


class _Teller:
    """Reports an operation's steps as they go."""

    def __init__(self, host: Host, message: ApplyMachine, steps: tuple[Step, ...]) -> None:
        self._host = host
        self._message = message
        self._steps = {step: StepReport(step=step, state=StepState.WAITING) for step in steps}

    def step(self, step: Step, state: StepState, percent: int = 0) -> None:
        before = self._steps[step]
        self._steps[step] = StepReport(step=step, state=state, percent=percent)
        if before != self._steps[step]:
            self._host.report_progress(self.progress(OperationState.RUNNING))

    def progress(self, state: OperationState, error: ErrorReport | None = None) -> Progress:
        return Progress(
            operation_id=self._message.operation_id,
            machine_id=self._message.spec.machine_id,
            generation=self._message.spec.generation,
            sequence=self._host.next_sequence(),
            state=state,
            steps=tuple(self._steps.values()),
            error=error,
        )


def apply(host: Host, message: ApplyMachine, *, anew: bool = False) -> None:
    """Make the host match the message's spec and report how it went; raises nothing that is the machine's own.

    A message that came twice and was carried out already is only reported again, unless `anew`.
    """
    spec = message.spec
    machine_id = spec.machine_id
    words = log.bind(operation=str(message.operation_id), machine=str(machine_id), generation=spec.generation)
    try:
        accepted = wishes.accept(host.config.state, message, gid=host.config.gid)
    except OSError as exc:  # not even the wish could be written down, so nothing was begun
        words.warning("not accepted", error=str(exc))
        code = ErrorCode.DISK_FULL if exc.errno in (errno.ENOSPC, errno.EDQUOT) else ErrorCode.INTERNAL
        refusal = ErrorReport(code=code, detail=str(exc)[-4000:])
        host.report_progress(_Teller(host, message, ()).progress(OperationState.FAILED, refusal))
        return
    if not accepted:
        words.info("a newer wish is known")
        host.report_progress(_Teller(host, message, ()).progress(OperationState.SUPERSEDED))
        _tell(host, machine_id)
        return
    reached("accepted")
    folder = host.folder(machine_id)
    with locked(folder.apply_lock):
        if wishes.newest_generation(host.config.state, machine_id) > spec.generation:
            host.report_progress(_Teller(host, message, ()).progress(OperationState.SUPERSEDED))
            return
        before = wishes.handled(folder)
        if before is not None and before.operation_id == message.operation_id and not anew:
            words.info("carried out already", state=before.state.value)
            _tell(host, machine_id, before)
            return
        _carry_out(host, message, folder)


def _carry_out(host: Host, message: ApplyMachine, folder: MachineFolder) -> None:
    spec = message.spec
    words = log.bind(
        operation=str(message.operation_id), machine=str(spec.machine_id), generation=spec.generation
    )
    teller = _Teller(host, message, ())
    current: Step | None = None
    try:
        settle_ended(host, folder, spec.machine_id)
        steps = steps_for(spec, find(host, spec, folder))
        teller = _Teller(host, message, steps)
        host.report_progress(teller.progress(OperationState.RUNNING))
        for current in steps:
            teller.step(current, StepState.RUNNING)
            words.info("step", step=current.value)
            reached(f"{current.value} begins")
            _EFFECTS[current](host, spec, folder, _percent(teller, current))
            reached(f"{current.value} done")
            teller.step(current, StepState.DONE, 100)
        end = teller.progress(OperationState.DONE)
    except Superseded:
        end = teller.progress(OperationState.SUPERSEDED)
    except Exception as exc:  # the page must hear of every end, whatever it was
        if not isinstance(exc, OffshootError):
            words.exception("unexpected")
        error = exc if isinstance(exc, OffshootError) else OffshootError(f"{type(exc).__name__}: {exc}")
        words.warning("failed", code=error.code.value, detail=error.detail)
        if current is not None:
            teller.step(current, StepState.FAILED)
        end = teller.progress(
            OperationState.FAILED, ErrorReport(code=error.code, detail=error.detail[-4000:])
        )
    reached("before handled")
    try:
        if spec.power is Power.GONE and end.state is OperationState.DONE:
            wishes.bury(host.config.state, spec.machine_id, spec.generation)
        else:
            wishes.remember_handled(folder, end)
    except OSError:  # a full disk, say: told all the same, and applied once more when the worker starts again
        words.exception("end not noted")
    reached("handled")
    _tell(host, spec.machine_id, end)
    words.info("ended", state=end.state.value)


def _tell(host: Host, machine_id: UUID, end: Progress | None = None) -> None:
    """Report the machine and how the operation ended; the end also where the machine cannot be looked at."""
    try:
        host.report_observed(observe(host, machine_id, operation=end))
    except Exception:
        log.exception("not observed", machine=str(machine_id))
    if end is not None:
        host.report_progress(end)


def resume(host: Host) -> list[ApplyMachine]:
    """The wishes to apply when a worker starts: what was begun and not ended, and what should run and does not."""
    begun = []
    for path in sorted(host.config.state.machines.glob("*/")):
        try:
            wish = _to_resume(host, MachineFolder(path))
        except Exception:  # one machine that cannot be looked at keeps no other from going on
            log.exception("not taken up again", folder=str(path))
            continue
        if wish is not None:
            begun.append(wish)
    return begun


def _to_resume(host: Host, folder: MachineFolder) -> ApplyMachine | None:
    wish = wishes.newest_wish(folder)
    if wish is None:
        return None
    handled = wishes.handled(folder)
    if handled is None or handled.generation < wish.spec.generation:
        return wish
    with locked(folder.apply_lock):
        settle_ended(host, folder, wish.spec.machine_id)
    record = processes.launched(folder)
    if wish.spec.power is Power.GONE or processes.runs(folder) or wishes.ended(folder) or not record:
        return None
    # It neither ended by itself nor by a person's wish, so the host ended it: what ran then is to run again, also where
    # the last wish (to shut down, say) had failed.
    changes: dict[str, Any] = {"power": Power.RUNNING, "run": max(wish.spec.run, int(record.get("run", 0)))}
    if wish.spec.disc and str(wish.spec.disc.image_id) != record.get("disc"):
        changes["disc"] = None  # it never came into the drive, and may be what had failed
    return wish.model_copy(update={"spec": wish.spec.model_copy(update=changes)})


Tell = Callable[[int], None]


def _percent(teller: _Teller, step: Step) -> Tell:
    return lambda percent: teller.step(step, StepState.RUNNING, min(percent, 99))


def _fetch_disc(host: Host, spec: MachineSpec, folder: MachineFolder, tell: Tell) -> None:
    if spec.disc is not None:
        library.fetch_disc(
            spec.disc,
            folder=host.config.state.images,
            portal_url=host.config.portal_url,
            fleet_key=host.config.fleet_key,
            progress=tell,
        )


def _make_disks(host: Host, spec: MachineSpec, folder: MachineFolder, tell: Tell) -> None:
    for disk in spec.disks:
        disks.make_disk(disk, folder.disk(disk), uid=host.config.uid, gid=host.config.gid, progress=tell)


def _prepare_network(host: Host, spec: MachineSpec, folder: MachineFolder, tell: Tell) -> None:
    with _unplugged_on_failure(host, spec):
        networks.plug(host.config, spec)


@contextmanager
def _unplugged_on_failure(host: Host, spec: MachineSpec) -> Iterator[None]:
    """Pull the machine's cables again where what is done inside fails; that failure is what is told."""
    try:
        yield
    except Exception:
        try:
            networks.unplug(host.config, spec.machine_id)
        except Exception:
            log.exception("not undone", machine=str(spec.machine_id))
        raise


def _launch(host: Host, spec: MachineSpec, folder: MachineFolder, tell: Tell) -> None:
    with _unplugged_on_failure(host, spec):
        free = host_usage(host.config.state.root).memory_free_mib
        if spec.memory_mib > free:
            raise MemoryShort(f"{spec.memory_mib} MiB wanted, {free} MiB free on {host.config.name}")
        taps = networks.open_taps(spec)
        reached("taps opened")
        try:
            choices = HostChoices(
                accelerator=host.accelerator,
                asynchronous_io="io_uring" if host.direct_io else "threads",
                direct_io=host.direct_io,
                folder=folder,
                tap_fds=taps,
                disc=library.cached(spec.disc.image_id, host.config.state.images) if spec.disc else None,
            )
            argv = qemu_argv(spec, choices)
        except BaseException:
            networks.close_taps(taps)
            raise
        processes.start(
            folder,
            spec.machine_id,
            argv,
            tap_fds=taps,
            monitors=host.monitors,
            uid=host.config.uid,
            gid=host.config.gid,
            extra_groups=(host.config.kvm_gid,) if choices.accelerator == "kvm" else (),
            record={
                "run": spec.run,
                "boot": boot_id(),
                "generation": spec.generation,
                "accelerator": choices.accelerator,
                "disc": str(spec.disc.image_id) if spec.disc else None,
            },
        )
    host.on_launch(spec.machine_id)


def _change_disc(host: Host, spec: MachineSpec, folder: MachineFolder, tell: Tell) -> None:
    """Open the tray, even where the guest locked it, and put in what is wanted; the node goes with the medium."""
    drive = {"id": "disc-drive"}
    host.monitors.execute(
        folder.qmp_socket, ("blockdev-open-tray", drive | {"force": True}), ("blockdev-remove-medium", drive)
    )
    _note_disc(folder, None)
    try:
        host.monitors.execute(folder.qmp_socket, ("blockdev-del", {"node-name": "disc"}))
    except MonitorError:
        pass  # the drive was empty
    if spec.disc is not None:
        path = library.cached(spec.disc.image_id, host.config.state.images)
        host.monitors.execute(
            folder.qmp_socket,
            ("blockdev-add", disc_blockdev(path)),
            ("blockdev-insert-medium", drive | {"node-name": "disc"}),
        )
    host.monitors.execute(folder.qmp_socket, ("blockdev-close-tray", drive))
    _note_disc(folder, str(spec.disc.image_id) if spec.disc else None)


def _note_disc(folder: MachineFolder, disc: str | None) -> None:
    """What is in the drive now; noted at once, so that a change that fails half-way is not taken for a whole one."""
    write_json(folder.launched_file, processes.launched(folder) | {"disc": disc})


def _ask_guest(host: Host, spec: MachineSpec, folder: MachineFolder, tell: Tell) -> None:
    """Press the power button (ACPI) and wait; a newer wish ends the waiting."""
    write_json(folder.intent_file, {"generation": spec.generation})
    try:
        host.monitors.execute(folder.qmp_socket, ("system_powerdown", {}))
    except MonitorError:
        if processes.runs(folder):
            raise
    begun = time.monotonic()
    while processes.runs(folder):
        waited = time.monotonic() - begun
        if wishes.newest_generation(host.config.state, spec.machine_id) > spec.generation:
            raise Superseded("a newer wish came")
        if waited > ASK_SECONDS:
            folder.intent_file.unlink(missing_ok=True)
            raise GuestIgnored(f"it was still running after {ASK_SECONDS:.0f} s")
        tell(int(100 * waited / ASK_SECONDS))
        time.sleep(0.1)
    settle_ended(host, folder, spec.machine_id, EndReason.PERSON)


def _stop(host: Host, spec: MachineSpec, folder: MachineFolder, tell: Tell) -> None:
    write_json(folder.intent_file, {"generation": spec.generation})
    processes.kill(folder, spec.machine_id, host.monitors)
    settle_ended(host, folder, spec.machine_id, EndReason.PERSON)


def _remove(host: Host, spec: MachineSpec, folder: MachineFolder, tell: Tell) -> None:
    """Cables and rules go here; the files go last, when the operation has ended well."""
    networks.unplug(host.config, spec.machine_id)


_EFFECTS: dict[Step, Callable[[Host, MachineSpec, MachineFolder, Tell], None]] = {
    Step.FETCH_DISC: _fetch_disc,
    Step.MAKE_DISKS: _make_disks,
    Step.PREPARE_NETWORK: _prepare_network,
    Step.LAUNCH: _launch,
    Step.CHANGE_DISC: _change_disc,
    Step.ASK_GUEST: _ask_guest,
    Step.STOP: _stop,
    Step.REMOVE: _remove,
}
