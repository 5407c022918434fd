"""Writing down what hosts report of machines and operations; a late report never overwrites a newer one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from portal.activity.models import OPEN_STATES, Kind, Operation
from portal.fleet.models import Host
from portal.images.models import Image
from portal.live import publish
from portal.machines import dispatch, outcomes
from portal.machines.events import observed_otherwise, operation_over
from portal.machines.models import Machine, Nic
from portal.machines.taking_back import take_back
from portal.networks.uplinks import BRIDGE_KINDS
from portal.rights.audience import audience_of
from workers.contract.errors import ErrorCode, MessageError
from workers.contract.messages import (
    ApplyMachine,
    EndReason,
    ErrorReport,
    MachineObserved,
    Observed,
    OperationState,
    PauseReason,
    Progress,
    StepState,
)
from workers.contract.spec import Autostart, BootFrom, Power
from workers.contract.version import from_wire

_FINAL = (OperationState.DONE, OperationState.FAILED, OperationState.SUPERSEDED)
_LIVING = (Observed.RUNNING, Observed.PAUSED, Observed.SAVED)
_WANTED_ALIVE = (Power.RUNNING, Power.PAUSED, Power.SAVED)
_ENDED_FOR_GOOD = (EndReason.GUEST, EndReason.CRASH, EndReason.UNSEEN)
log = structlog.get_logger()


def progress_take(progress: Progress) -> bool:
    """Write down how far an operation is; False where it is over already or a newer word is known."""
    now = timezone.now()
    changes: dict[str, Any] = {
        "state": progress.state,
        "sequence": progress.sequence,
        "reported_at": now,
    }
    if progress.steps:
        changes["steps"] = [_step(progress, step.model_dump(mode="json")) for step in progress.steps]
    if progress.state in _FINAL:
        changes["finished_at"] = now
    if progress.facts is not None:
        changes["facts"] = progress.facts.model_dump(mode="json")
    if progress.error is not None:
        changes["error_code"] = progress.error.code
        changes["error_detail"] = _storable(progress.error.detail)
    with transaction.atomic():
        taken = Operation.objects.filter(
            pk=progress.operation_id,
            machine=progress.machine_id,
            state__in=OPEN_STATES,
            sequence__lt=progress.sequence,
        ).update(**changes)
        if not taken:
            return False
        operation = Operation.objects.select_related("machine", "host", "requested_by").get(
            pk=progress.operation_id
        )
        if progress.state is OperationState.FAILED and progress.machine_id is not None:
            _take_back(operation, progress.machine_id, progress)
        if progress.state in _FINAL:
            outcomes.settle(operation, progress)
            operation_over(operation)
            _followers(operation, progress.state)
        if progress.machine_id is not None:
            transaction.on_commit(partial(publish.machine_changed, progress.machine_id))
        elif operation.kind in BRIDGE_KINDS:
            transaction.on_commit(publish.fleet_changed)
            transaction.on_commit(publish.networks_changed)
    log.info("operation", operation=str(progress.operation_id), state=progress.state.value)
    return True


def _followers(operation: Operation, state: OperationState) -> None:
    """What was to come after it: sent now, or given up where it was not done."""
    for follower in operation.followers.filter(state__in=OPEN_STATES, sent_at__isnull=True):
        if state is OperationState.DONE:
            dispatch.send_on_commit(follower)
        else:
            reason = f"{operation.get_kind_display()} of {operation.machine_name}: {state.value}"
            _fail(follower, ErrorCode.ORIGIN_FAILED, reason)


def operation_refused(operation_id: UUID, detail: str) -> bool:
    """A host of another version answered for this operation, so it was not carried out; False where it is over."""
    operation = Operation.objects.filter(pk=operation_id, state__in=OPEN_STATES).first()
    return operation is not None and _fail(operation, ErrorCode.VERSION_UNKNOWN, detail)


def _fail(operation: Operation, code: ErrorCode, detail: str) -> bool:
    """It ended badly on this side, as if its host had said so."""
    return progress_take(
        Progress(
            operation_id=operation.pk,
            machine_id=operation.machine_id,
            generation=operation.generation,
            sequence=operation.sequence + 1,
            state=OperationState.FAILED,
            error=ErrorReport(code=code, detail=detail[:4000]),
        )
    )


def heartbeat_machines_take(host: str, reports: Sequence[MachineObserved]) -> None:
    """Write down the machines of a heartbeat. Those without news cost one transaction together, not one each."""
    for report in _with_news(host, reports):
        observed_take(report)
    # After what is observed, which a failed wish is taken back to.
    ends = [report.operation for report in reports if report.operation is not None]
    still_open = set(
        Operation.objects.filter(pk__in=[end.operation_id for end in ends], state__in=OPEN_STATES)
        .values_list("pk", flat=True)
    )  # fmt: skip
    for end in ends:
        if end.operation_id in still_open:
            progress_take(end)


def observed_take(report: MachineObserved) -> bool:
    """Write down what a machine is; False where a newer report is known or the machine is not this host's."""
    if report.operation is None:
        return _observation_take(report)
    if report.power is Observed.GONE:  # the last chance: with the machine its operations lose their owner
        progress_take(report.operation)
        return _observation_take(report)
    taken = _observation_take(report)
    progress_take(report.operation)  # afterwards: a failed wish is taken back to what is observed
    return taken


def _observation_take(report: MachineObserved) -> bool:
    with transaction.atomic():
        rows = Machine.objects.select_for_update().filter(pk=report.machine_id, host__name=report.host)
        machine = rows.first()
        if machine is None or machine.observed_sequence >= report.sequence:
            return False
        if report.power is Observed.GONE:
            return _gone(machine, report)
        changes = _changes(machine, report)
        if report.under_the_hood is not None:
            hood = report.under_the_hood.model_dump(mode="json")
            changes["under_the_hood"] = {
                name: _storable(value) if isinstance(value, str) else value for name, value in hood.items()
            }
        news = any(getattr(machine, field) != value for field, value in changes.items())
        observed_otherwise(machine, report)
        for nic, found in _changed_nics(machine, report):
            Nic.objects.filter(pk=nic.pk).update(**found)
            news = True
        Machine.objects.filter(pk=machine.pk).update(observed_sequence=report.sequence, **changes)
        if news:
            transaction.on_commit(partial(publish.machine_changed, machine.pk))
    return True


def host_speaks_otherwise(host: str, version: str) -> None:
    """A host's report was of a contract that this side does not speak: say so on its page."""
    if (
        Host.objects.filter(name=host)
        .exclude(refused_version=version[:40])
        .update(refused_version=version[:40])
    ):
        publish.fleet_changed()


def _gone(machine: Machine, report: MachineObserved) -> bool:
    """The host has removed every trace: the definition goes too, if that is what was wanted."""
    if machine.power != Power.GONE or report.generation < machine.generation:
        return False
    # What stayed open would be sent again for ever, and some day make the machine anew on a host that forgot it.
    had_it = audience_of(machine.pk)
    for operation in machine.operations.filter(state__in=OPEN_STATES).select_related("host"):
        is_it = operation.kind == Kind.DELETE
        operation.state = OperationState.DONE if is_it else OperationState.SUPERSEDED
        operation.finished_at = timezone.now()
        operation.save(update_fields=["state", "finished_at"])
        operation_over(operation)
    machine.delete()
    transaction.on_commit(partial(publish.machine_changed, report.machine_id, had_it))
    transaction.on_commit(publish.library_changed)
    log.info("machine gone", machine=str(report.machine_id))
    return True


def _take_back(operation: Operation, machine_id: UUID, progress: Progress) -> None:
    """A wish that failed is not kept wanting: what is observed is what is wanted, until a person says otherwise."""
    current = Machine.objects.filter(pk=machine_id, generation=progress.generation)
    lives = Q(observed=Observed.RUNNING) | Q(observed=Observed.PAUSED)
    if operation.kind == Kind.DELETE:
        return  # half a deletion is no machine any more; deleting it again goes on where it stopped
    if progress.error is not None and progress.error.code is ErrorCode.GUEST_IGNORED_SHUTDOWN:
        if operation.kind == Kind.RESTART:
            current.update(run=F("run") - 1)
        current.update(power=Power.RUNNING)
        return
    if operation.kind in (Kind.INSERT_DISC, Kind.FINISH_INSTALLATION):
        _take_disc_back(operation, current)
    if operation.kind == Kind.CHANGE and current.exists():
        take_back(operation, locks=True)
    if operation.kind == Kind.START:  # anew, and its saved memory is there still: that is of the run before
        current.filter(observed=Observed.SAVED).update(run=F("run") - 1)
    is_paused = Q(observed=Observed.PAUSED, paused_for=PauseReason.PERSON)
    current.filter(is_paused).update(power=Power.PAUSED)
    current.filter(lives & ~is_paused).update(power=Power.RUNNING)
    current.filter(observed=Observed.SAVED).update(power=Power.SAVED)
    current.exclude(observed__in=_LIVING).update(power=Power.OFF)


def _take_disc_back(failed: Operation, current: QuerySet[Machine]) -> None:
    """Into the drives goes what was in them when a wish was last carried out, so that the change can be asked again."""
    earlier = Operation.objects.filter(
        machine=failed.machine_id, generation__lt=failed.generation, state=OperationState.DONE
    )
    last = earlier.order_by("-generation").first()
    if last is None:
        return
    try:
        spec = from_wire(ApplyMachine, last.message).spec
    except MessageError as exc:  # of an older contract: what was in the drive is not known
        log.warning("disc not taken back", operation=str(failed.pk), error=exc.detail)
        return
    # Locked, so that nobody deletes it from the library meanwhile.
    images = Image.objects.select_for_update(no_key=True)
    disc = images.filter(pk=spec.disc.image_id).first() if spec.disc else None
    second = images.filter(pk=spec.second_disc.image_id).first() if spec.second_disc else None
    current.update(second_disc=second, disc=disc, boot_from=spec.boot_from if disc else BootFrom.DISK)


def _storable(text: str) -> str:
    """What a guest or a program wrote, without NUL: PostgreSQL keeps none in a text or in JSON."""
    return text.replace("\x00", "\ufffd")


def _step(progress: Progress, step: dict[str, Any]) -> dict[str, Any]:
    return step | {"state": StepState.DONE.value} if progress.state is OperationState.DONE else step


def _with_news(host: str, reports: Sequence[MachineObserved]) -> list[MachineObserved]:
    """The reports that say something new; of the others only the sequence is noted, so that a late one is known as such."""
    with transaction.atomic():
        rows = Machine.objects.select_for_update(of=("self",)).filter(host__name=host).defer("under_the_hood")
        known = {machine.pk: machine for machine in rows.prefetch_related("nics")}
        news, quiet = [], []
        for report in reports:
            machine = known.get(report.machine_id)
            if machine is None or machine.observed_sequence >= report.sequence:
                continue
            if _is_news(machine, report):
                news.append(report)
            else:
                machine.observed_sequence = report.sequence
                quiet.append(machine)
        Machine.objects.bulk_update(quiet, ["observed_sequence"], batch_size=250)
    return news


def _is_news(machine: Machine, report: MachineObserved) -> bool:
    if report.power is Observed.GONE or report.under_the_hood is not None:
        return True
    changes = _changes(machine, report)
    return any(getattr(machine, field) != value for field, value in changes.items()) or bool(
        _changed_nics(machine, report)
    )


def _changes(machine: Machine, report: MachineObserved) -> dict[str, Any]:
    """The columns as the report wants them."""
    changes: dict[str, Any] = {
        "observed": report.power,
        "observed_generation": report.generation,
        "end_reason": report.reason or "",
        "exit_detail": _storable(report.exit_detail),
        "accelerator": report.accelerator or "",
        "paused_for": report.paused_for or "",
        "guest_resets": report.guest_resets,
        "pending": list(report.pending),
        "memory_now_mib": report.memory_now_mib,
        "agent": report.agent.model_dump(mode="json") if report.agent else None,
    }
    if report.run > machine.run:
        changes["run"] = report.run
    if report.generation > machine.generation:
        # An older database was restored: a wish below the host's generation would be overtaken before it began.
        changes["generation"] = report.generation
    if report.generation < machine.generation:
        return changes
    stays_off = report.reason is EndReason.HOST and machine.autostart == Autostart.NEVER
    ended = report.reason in _ENDED_FOR_GOOD or stays_off or _failed(report)
    if report.power is Observed.OFF and ended and machine.power in _WANTED_ALIVE:
        # It ended by itself, or its start failed: nobody wants it to run any more until a person starts it.
        changes["power"] = Power.OFF
    if report.power is Observed.RUNNING and machine.power in (Power.PAUSED, Power.OFF) and _is_done(report):
        # Its host was restarted, and it with it: it stands still no more, or starts with its host always.
        changes["power"] = Power.RUNNING
    return changes


def _is_done(report: MachineObserved) -> bool:
    """The host has carried out its newest wish, so that what it sees came after that."""
    end = report.operation
    return end is not None and end.state is OperationState.DONE and end.generation == report.generation


def _failed(report: MachineObserved) -> bool:
    """The host's newest wish failed; its own report may have come before this one, when it was seen running."""
    end = report.operation
    return end is not None and end.state is OperationState.FAILED and end.generation == report.generation


def _changed_nics(machine: Machine, report: MachineObserved) -> list[tuple[Nic, dict[str, str]]]:
    """The cards that the host sees otherwise than they were written down."""
    nics = {nic.mac: nic for nic in machine.nics.all()}
    changed = []
    for card in report.nics:
        found = {"bridge": card.bridge, "tap": card.tap, "leased_address": card.leased_address or ""}
        nic = nics.get(card.mac)
        if nic is not None and any(getattr(nic, field) != value for field, value in found.items()):
            changed.append((nic, found))
    return changed
