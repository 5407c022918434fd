"""Making the host match a wish: wanted against found gives steps, each step is an effect, each is reported.

Whatever instruction a worker is killed at, the same call made again ends in the same place.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from uuid import UUID

import structlog

from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.jobs import Facts
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
from workers.contract.spec import Autostart, Power
from workers.effects import freezing, snapshots
from workers.effects.table import EFFECTS
from workers.effects.work import Superseded, Work
from workers.host import processes, saved, wishes
from workers.host.boot import boot_id, was_rebooted
from workers.host.locks import locked
from workers.killpoints import reached
from workers.observation import find, observe, settle_ended
from workers.plan.names import MachineFolder
from workers.plan.steps import steps_for
from workers.this_host import Host

log = structlog.get_logger()


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

    def progress(
        self, state: OperationState, error: ErrorReport | None = None, facts: Facts | None = None
    ) -> Progress:
        return Progress(
            operation_id=self._message.operation_id,
            machine_id=self._message.spec.machine_id,
            generation=self._message.spec.generation,
            sequence=self._host.next_sequence(),
            state=state,
            steps=tuple(self._steps.values()),
            error=error,
            facts=facts,
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
    with _turn(folder):
        if wishes.is_removed(host.config.state, machine_id, spec.generation):
            words.info("removed already")
            _tell(host, machine_id, _Teller(host, message, ()).progress(OperationState.DONE))
            return
        if wishes.newest_generation(host.config.state, machine_id) > spec.generation:
            host.report_progress(_Teller(host, message, ()).progress(OperationState.SUPERSEDED))
            return
        before = wishes.handled(folder)
        if before is not None and before.operation_id == message.operation_id and not anew:
            words.info("carried out already", state=before.state.value)
            _tell(host, machine_id, before)
            return
        _carry_out(host, message, folder)


@contextmanager
def _turn(folder: MachineFolder) -> Iterator[None]:
    """Hold the machine alone; there is nothing to hold, nor to wait for, where its folder was removed meanwhile."""
    with ExitStack() as held:
        with suppress(FileNotFoundError):
            held.enter_context(locked(folder.apply_lock))
        yield


def _carry_out(host: Host, message: ApplyMachine, folder: MachineFolder) -> None:
    spec = message.spec
    words = log.bind(
        operation=str(message.operation_id), machine=str(spec.machine_id), generation=spec.generation
    )
    teller = _Teller(host, message, ())
    work = Work(host, message, folder)
    current: Step | None = None
    try:
        settle_ended(host, folder, spec.machine_id)
        freezing.settle_unfinished(work)
        snapshots.settle_unfinished(work)
        steps = steps_for(spec, find(host, spec, folder, message.act), message.act)
        teller = _Teller(host, message, steps)
        host.report_progress(teller.progress(OperationState.RUNNING))
        for current in steps:
            teller.step(current, StepState.RUNNING)
            words.info("step", step=current.value)
            reached(f"{current.value} begins")
            work.tell = _percent(teller, current)
            EFFECTS[current](work)
            reached(f"{current.value} done")
            teller.step(current, StepState.DONE, 100)
        end = teller.progress(OperationState.DONE, facts=work.facts)
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
    """Report the machine, and with it how the operation ended; the end also where the machine cannot be looked at."""
    try:
        host.report_observed(observe(host, machine_id, operation=end))
    except Exception:
        log.exception("not observed", machine=str(machine_id))
        if end is not None:
            host.report_progress(end)


def resume(host: Host) -> list[ApplyMachine]:
    """The wishes to apply when a worker starts: what was begun and not ended, and what should run and does not."""
    begun = []
    rebooted = was_rebooted(host.config.state)
    for path in sorted(host.config.state.machines.glob("*/")):
        try:
            wish = _to_resume(host, MachineFolder(path), rebooted=rebooted)
        except Exception:  # one machine that cannot be looked at keeps no other from going on
            log.exception("not taken up again", folder=str(path))
            continue
        if wish is not None:
            begun.append(wish)
    return begun


def _to_resume(host: Host, folder: MachineFolder, *, rebooted: bool) -> ApplyMachine | None:
    wish = wishes.newest_wish(folder)
    if wish is None:
        return None
    handled = wishes.handled(folder)
    if handled is None or handled.generation < wish.spec.generation:
        return wish
    with locked(folder.apply_lock):
        settle_ended(host, folder, wish.spec.machine_id)
    record = processes.launched(folder)
    if wish.spec.power is Power.GONE or processes.runs(folder) or saved.saved(folder):
        return None
    over, run = wishes.ended(folder), int(record.get("run", 0))
    if over is not None or not record:
        if wish.spec.autostart is not Autostart.ALWAYS or not rebooted:
            return None
        run = max(wish.spec.run, run, over.run if over else 0) + 1
    elif wish.spec.autostart is Autostart.NEVER and record.get("boot") != boot_id():
        wishes.remember_ended(folder, wishes.Ended(run, EndReason.HOST, ""))
        return None
    # It neither ended by itself nor by a person's wish, so the host ended it: what ran then is to run again, also where
    # the last wish (to shut down, say) had failed.
    changes: dict[str, Any] = {"power": Power.RUNNING, "run": max(wish.spec.run, run)}
    if record and wish.spec.disc and str(wish.spec.disc.image_id) != record.get("disc"):
        changes["disc"] = None  # it never came into the drive, and may be what had failed
    if wish.spec.second_disc and str(wish.spec.second_disc.image_id) != record.get("second_disc"):
        changes["second_disc"] = None
    return wish.model_copy(update={"spec": wish.spec.model_copy(update=changes), "act": None})


def _percent(teller: _Teller, step: Step) -> Callable[[int], None]:
    return lambda percent: teller.step(step, StepState.RUNNING, min(percent, 99))
