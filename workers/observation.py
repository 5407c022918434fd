"""What is on the host: the machine as it is found, why it ended, and what the portal is told of it."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from workers.contract.acts import Act, FreezeDisks
from workers.contract.disks import ImageOrigin
from workers.contract.messages import EndReason, MachineObserved, Observed, Progress, UnderTheHood
from workers.contract.spec import MachineSpec, Power, StopMode
from workers.host import (
    cgroups,
    course,
    imagebases,
    living,
    networks,
    processes,
    saved,
    tpm,
    wishes,
)
from workers.host.boot import boot_id
from workers.host.disks import virtual_size
from workers.host.files import tail
from workers.host.left import left_disks
from workers.host.made import Spot, base_wanted, made_disks, note_unnoted
from workers.host.monitor import run_state
from workers.plan.changes import Changes, changes
from workers.plan.names import MachineFolder
from workers.plan.network import plugged
from workers.plan.rulesets.wanted import rules_of_card
from workers.plan.steps import Found
from workers.this_host import Host, PlaceMissing

_FAULTS = ("io-error", "guest-panicked", "internal-error", "watchdog")
"""The states of qemu in which a machine stands still although nobody wished it (QMP RunState)."""
_PASSING = ("save-vm", "restore-vm")
_LOG_TAIL_BYTES = 32 * 1024


def find(host: Host, spec: MachineSpec, folder: MachineFolder, act: Act | None = None) -> Found:
    """The machine as it is on the host now. A qemu under this machine's lock that is another's is ended first.

    `act` is what is done after it: disks that are being frozen by it are where they shall be.

    Raises MonitorError where its qemu says nothing and is not to be ended anyway: a guest whose host is slow lives on.
    """
    record = processes.launched(folder)
    running_run = None
    status = "running"
    if processes.runs(folder):
        if _is_its_own(host, spec, folder):
            running_run = int(record.get("run", 0))
            if not _is_ended_anyway(spec):
                status = run_state(folder.qmp_socket, host.monitors)
        else:
            processes.kill(folder, spec.machine_id, host.monitors)
    kept = saved.saved(folder)
    if running_run is not None and kept is not None and status == "inmigrate":
        processes.kill(folder, spec.machine_id, host.monitors)  # half awake: whoever woke it was killed
        running_run = None
    if running_run is not None and kept is not None and status == "running":
        saved.discard(folder)  # older than the machine
    over = wishes.ended(folder)
    now = living.living(folder) if running_run is not None else None
    missing, moved, short = _disks(host, spec, folder, act)
    left = left_disks(host.disk_folders(spec.machine_id), wanted_disks(spec))
    return Found(
        disks_missing=missing,
        disks_moved=moved,
        images_missing=missing and _images_missing(host, spec, folder),
        disks_short=short,
        disks_left=frozenset(left) | (made_disks(folder).keys() - wanted_disks(spec)),
        changes=changes(spec, now.spec, ports=now.ports) if now else Changes(),
        running_run=running_run,
        running_disc=record.get("disc"),
        running_second_disc=record.get("second_disc"),
        ended_run=over.run if over else None,
        seed_missing=spec.seed is not None and not folder.seed_file.exists(),
        paused=running_run is not None and status not in ("running", *_FAULTS, *_PASSING),
        saved_run=kept.run if kept is not None and running_run is None else None,
    )


def _disks(host: Host, spec: MachineSpec, folder: MachineFolder, act: Act | None) -> tuple[bool, bool, bool]:
    """Whether a wanted disk's file is not there, one is something else, or elsewhere, than it is wanted, and one is smaller."""
    files = [(disk, _file(host, spec, disk.id, Spot.wanted(disk))) for disk in spec.disks]
    note_unnoted(folder, [(disk, path) for disk, path in files if path is not None])
    made = made_disks(folder)
    frozen = {each.disk_id: each.base_id for each in act.disks} if isinstance(act, FreezeDisks) else {}
    missing = moved = short = False
    for disk in spec.disks:
        known = made.get(disk.id)
        lies = _file(host, spec, disk.id, known.spot) if known else None
        size = virtual_size(lies) if lies is not None else None
        missing = missing or size is None
        short = short or (size is not None and size < disk.size_bytes)
        if known is not None and (known.base is None or known.base != frozen.get(disk.id)):
            stands_on_less = known.base is not None and base_wanted(disk) is None
            moved = moved or known.stray is not None or known.spot != Spot.wanted(disk) or stands_on_less
    return missing, moved, short


def _images_missing(host: Host, spec: MachineSpec, folder: MachineFolder) -> bool:
    """A disk that was not made yet begins as an image of which this host has no copy to stand on."""
    made = made_disks(folder)
    return any(
        isinstance(disk.origin, ImageOrigin)
        and disk.id not in made
        and not imagebases.flat(disk.origin.image.image_id, host.config.state.images).exists()
        for disk in spec.disks
    )


def _file(host: Host, spec: MachineSpec, disk_id: UUID, spot: Spot) -> Path | None:
    """Where it lies; None where its pool is away, which the step that needs it says in words."""
    try:
        return host.disk_at(spec.machine_id, disk_id, spot)
    except PlaceMissing:
        return None


def wanted_disks(spec: MachineSpec) -> frozenset[UUID]:
    """The ids of a machine's disks."""
    return frozenset(disk.id for disk in spec.disks)


def _is_its_own(host: Host, spec: MachineSpec, folder: MachineFolder) -> bool:
    if _is_ended_anyway(spec):
        return processes.runs(
            folder
        )  # a step that ends it comes next, whatever it says: one that hangs is not waited for
    return processes.answers(folder, spec.machine_id, host.monitors)


def _is_ended_anyway(spec: MachineSpec) -> bool:
    return spec.power is Power.GONE or (spec.power is Power.OFF and spec.stop_mode is StopMode.FORCE)


def settle_ended(
    host: Host, folder: MachineFolder, machine_id: UUID, reason: EndReason | None = None
) -> None:
    """After a qemu has ended: note why, and pull its cables. Call it under the apply lock; idempotent.

    `reason` is what the events said. Without it nobody listened: a qemu that got up and ended since the host's last
    boot ended UNSEEN; one that never got up, or that a reboot of the host ended, is left to be started again.
    """
    record = processes.launched(folder)
    if processes.runs(folder):
        return
    tpm.end(folder, machine_id)  # it goes with qemu; here one that qemu never came to
    cgroups.drop(machine_id)
    if not record:
        return
    over = wishes.ended(folder)
    run = int(record.get("run", 0))
    if saved.saved(folder) is None and (over is None or over.run < run):
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
    # Before the look at the machine: an operation that ends meanwhile is not told of beside what was before it.
    operation = operation or wishes.handled(folder)
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
    kept = None if runs else saved.saved(folder)
    over = wishes.ended(folder) if kept is None else None
    reason = EndReason.HOST if record else EndReason.NEVER_STARTED
    goes = course.of(folder)
    stands_still = runs and goes.paused_for is not None
    accelerator = str(record.get("accelerator", "")) or None
    now = living.living(folder) if runs else None
    hood = None
    if not brief:
        cards = [(nic.network, plugged(nic, spec.firewall)) for nic in spec.nics] if runs else []
        rules = "".join(rules_of_card(network, card) for network, card in cards)
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
        run=kept.run if kept else int(record.get("run", 0)),
        power=(
            Observed.PAUSED
            if stands_still
            else Observed.RUNNING
            if runs
            else Observed.SAVED
            if kept
            else Observed.OFF
        ),
        paused_for=goes.paused_for if stands_still else None,
        reason=None if runs or kept else over.reason if over else reason,
        guest_resets=goes.guest_resets if runs else 0,
        exit_detail=over.detail if over and not runs else "",
        agent=host.agent_facts(machine_id) if runs else None,
        pending=changes(spec, now.spec, ports=now.ports).pending if now else (),
        memory_now_mib=living.memory_now_mib(folder) if runs else None,
        accelerator=accelerator if runs else None,
        nics=networks.nic_facts(host.config, spec),
        operation=operation,
        under_the_hood=hood,
    )
