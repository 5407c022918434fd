"""Making the host match a wish: wanted against found gives steps, each step is an effect, each is reported.

Whatever instruction a worker is killed at, the same call made again ends in the same place.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from workers.config import HostConfig
from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.host import KvmAnswer, KvmProbe
from workers.contract.messages import (
    ApplyMachine,
    EndReason,
    ErrorReport,
    MachineObserved,
    Observed,
    OperationState,
    Progress,
    Step,
    StepReport,
    StepState,
    UnderTheHood,
)
from workers.contract.spec import MachineSpec, Power
from workers.host import disks, firewall, library, networks, processes, wishes
from workers.host.facts import boot_id, host_usage
from workers.host.files import tail, write_json
from workers.host.locks import locked
from workers.host.monitor import MonitorError, MonitorLoop
from workers.killpoints import reached
from workers.plan.names import MachineFolder, tap_name
from workers.plan.qemu import Accelerator, HostChoices, disc_blockdev, qemu_argv
from workers.plan.steps import Found, steps_for

ASK_SECONDS = 60.0
_LOG_TAIL_BYTES = 32 * 1024
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


@dataclass
class Host:
    """What the operations work with: settings, the monitors' loop, the probe's answer and the way to report."""

    config: HostConfig
    monitors: MonitorLoop
    kvm: Callable[[], KvmProbe]
    report_progress: Callable[[Progress], None]
    report_observed: Callable[[MachineObserved], None]
    direct_io: bool
    on_launch: Callable[[UUID], None] = lambda _: None
    _sequence: int = field(default=0)

    def folder(self, machine_id: UUID) -> MachineFolder:
        """The machine's folder on this host."""
        return self.config.state.machine(machine_id)

    def next_sequence(self) -> int:
        """Greater than every one before, also before a restart of the worker (the clock's nanoseconds)."""
        self._sequence = max(self._sequence + 1, time.time_ns())
        return self._sequence

    @property
    def accelerator(self) -> Accelerator:
        """KVM where it was seen to work, else emulation."""
        return "kvm" if self.kvm().answer is KvmAnswer.WORKS else "tcg"


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


def apply(host: Host, message: ApplyMachine) -> None:
    """Make the host match the message's spec and report how it went; raises nothing that is the machine's own."""
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
        host.report_observed(observe(host, machine_id))
        return
    reached("accepted")
    folder = host.folder(machine_id)
    with locked(folder.apply_lock):
        if wishes.newest_generation(host.config.state, machine_id) > spec.generation:
            host.report_progress(_Teller(host, message, ()).progress(OperationState.SUPERSEDED))
            return
        _carry_out(host, message, folder)


def _carry_out(host: Host, message: ApplyMachine, folder: MachineFolder) -> None:
    spec = message.spec
    words = log.bind(
        operation=str(message.operation_id), machine=str(spec.machine_id), generation=spec.generation
    )
    settle_ended(host, folder, spec.machine_id)
    steps = steps_for(spec, find(host, spec, folder))
    teller = _Teller(host, message, steps)
    host.report_progress(teller.progress(OperationState.RUNNING))
    current: Step | None = None
    try:
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
    if spec.power is Power.GONE and end.state is OperationState.DONE:
        wishes.bury(host.config.state, spec.machine_id, spec.generation)
    else:
        try:
            wishes.remember_handled(folder, end)
        except (
            OSError
        ):  # a full disk, say: told all the same, and applied once more when the worker starts again
            words.exception("end not noted")
    reached("handled")
    host.report_observed(observe(host, spec.machine_id, operation=end))
    host.report_progress(end)
    words.info("ended", state=end.state.value)


def resume(host: Host) -> list[ApplyMachine]:
    """The wishes to apply when a worker starts: what was begun and not ended, and what should run and does not."""
    begun = []
    for path in sorted(host.config.state.machines.glob("*/")):
        folder = MachineFolder(path)
        wish = wishes.newest_wish(folder)
        if wish is None:
            continue
        handled = wishes.handled(folder)
        unfinished = handled is None or handled.generation < wish.spec.generation
        if not unfinished:
            with locked(folder.apply_lock):
                settle_ended(host, folder, wish.spec.machine_id)
        # A run that neither ended by itself nor by a person's wish was ended by the host: it is started again.
        cut_off = (
            wish.spec.power is Power.RUNNING
            and not processes.runs(folder)
            and handled is not None
            and handled.state is OperationState.DONE
            and wishes.ended(folder) is None
        )
        if unfinished or cut_off:
            begun.append(wish)
    return begun


def find(host: Host, spec: MachineSpec, folder: MachineFolder) -> Found:
    """The machine as it is on the host now. A qemu under this machine's lock that is another's is ended first."""
    record = processes.launched(folder)
    running_run = None
    if processes.runs(folder):
        if processes.answers(folder, spec.machine_id, host.monitors):
            running_run = int(record.get("run", 0))
        else:
            processes.kill(folder, spec.machine_id, host.monitors)
    over = wishes.ended(folder)
    return Found(
        disks_missing=any(not folder.disk(disk).exists() for disk in spec.disks),
        running_run=running_run,
        running_disc=record.get("disc"),
        ended_run=over.run if over else None,
    )


def settle_ended(
    host: Host, folder: MachineFolder, machine_id: UUID, reason: EndReason | None = None
) -> None:
    """After a qemu has ended: note why, and pull its cables. Call it under the apply lock; idempotent.

    `reason` is what the events said. Without it nobody listened: a qemu that got up and ended since the host's last
    boot ended UNSEEN; one that never got up, or that a reboot of the host ended, is left to be started again.
    """
    record = processes.launched(folder)
    if not record or processes.runs(folder):
        return
    over = wishes.ended(folder)
    run = int(record.get("run", 0))
    if over is None or over.run < run:
        words = processes.exit_words(folder, machine_id)
        got_up_since_boot = folder.pid_file.exists() and record.get("boot") == boot_id()
        found = EndReason.PERSON if folder.intent_file.exists() else reason
        found = found or (EndReason.UNSEEN if got_up_since_boot else None)
        if found is not None:
            wishes.remember_ended(folder, wishes.Ended(run, found, words if found is EndReason.CRASH else ""))
    networks.unplug(host.config, machine_id)


def observe(
    host: Host, machine_id: UUID, *, operation: Progress | None = None, brief: bool = False
) -> MachineObserved:
    """The machine as it is now, for the portal; `brief` leaves out what only an expert looks at."""
    folder = host.folder(machine_id)
    wish = wishes.newest_wish(folder)
    sequence = host.next_sequence()
    if wish is None:
        return MachineObserved(
            host=host.config.name,
            machine_id=machine_id,
            generation=operation.generation if operation else 0,
            sequence=sequence,
            power=Observed.GONE,
            operation=operation,
        )
    spec, record = wish.spec, processes.launched(folder)
    runs = processes.runs(folder)
    over = wishes.ended(folder)
    reason = (
        None if runs else (over.reason if over else EndReason.HOST if record else EndReason.NEVER_STARTED)
    )
    accelerator = str(record.get("accelerator", "")) or None
    hood = None
    if not brief:
        rules = "".join(firewall.rules_of_tap(tap_name(nic)) for nic in spec.nics) if runs else ""
        hood = UnderTheHood(
            argv=tuple(record.get("argv", ())),
            accelerator=accelerator or "",
            firewall=rules,
            console_log=tail(folder.console_log, most_bytes=_LOG_TAIL_BYTES),
            qemu_log=tail(folder.qemu_log, most_bytes=_LOG_TAIL_BYTES),
            state_folder=str(folder.root),
        )
    return MachineObserved(
        host=host.config.name,
        machine_id=machine_id,
        generation=spec.generation,
        sequence=sequence,
        power=Observed.RUNNING if runs else Observed.OFF,
        reason=reason,
        exit_detail=over.detail if over and not runs else "",
        accelerator=accelerator if runs else None,
        nics=networks.nic_facts(host.config, spec),
        operation=operation or wishes.handled(folder),
        under_the_hood=hood,
    )


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
    disc = str(spec.disc.image_id) if spec.disc else None
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
