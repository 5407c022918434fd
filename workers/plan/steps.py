"""What has to happen: the wanted machine against the one that was found gives the steps, in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from workers.contract.acts import Act, RevertToSnapshot
from workers.contract.messages import Step
from workers.contract.spec import MachineSpec, Power, StopMode
from workers.plan.changes import Changes, is_limited, most_mib

ACT_STEPS: dict[str, tuple[Step, ...]] = {
    "reset": (Step.RESET,),
    "resume": (Step.RESUME,),
    "take_snapshot": (Step.TAKE_SNAPSHOT,),
    "revert_to_snapshot": (Step.REVERT_TO_SNAPSHOT,),
    "delete_snapshot": (Step.DELETE_SNAPSHOT,),
    "freeze_disks": (Step.FREEZE_DISKS,),
    "take_backup": (Step.TAKE_BACKUP,),
    "export_machine": (Step.EXPORT_MACHINE, Step.SEND_EXPORT),
    "set_password": (Step.SET_PASSWORD,),
}


@dataclass(frozen=True)
class Found:
    """A machine as the host finds it.

    `disks_moved`: a disk is of another kind, or lies elsewhere, than it is wanted; `disks_short`: one's file is smaller
    than it is wanted; `disks_left` are disks that are wanted no more and have a file still. `images_missing`: one that
    is to be made begins as an image that is not here yet. `running_run` is the run of the living qemu (None: none
    lives), `running_disc` and `running_second_disc` the discs in its drives; `changes` lead from its hardware to the
    wanted one. `ended_run` is the run that ended by itself or by a person's wish, None where none did.
    """

    disks_missing: bool
    running_run: int | None
    running_disc: str | None
    ended_run: int | None
    disks_moved: bool = False
    running_second_disc: str | None = None
    images_missing: bool = False
    seed_missing: bool = False
    paused: bool = False
    """It stands still because it was told to; one that a fault made stand still goes on only when told so by an act."""
    saved_run: int | None = None
    """The run whose memory is saved while no qemu lives."""
    changes: Changes = field(default_factory=Changes)
    disks_short: bool = False
    disks_left: frozenset[UUID] = frozenset()


def steps_for(spec: MachineSpec, found: Found, act: Act | None = None) -> tuple[Step, ...]:
    """The steps from `found` to `spec`, then those of the act; empty where there is nothing to do."""
    if isinstance(act, RevertToSnapshot):
        return _to_go_back(spec, act)
    steps = _to_match(spec, found)
    return (*steps, *(step for step in (ACT_STEPS[act.kind] if act else ()) if step not in steps))


def _to_match(spec: MachineSpec, found: Found) -> tuple[Step, ...]:
    runs = found.running_run is not None
    resume = (Step.RESUME,) if found.paused else ()
    # A guest that stands still hears nobody.
    stop = (*resume, Step.ASK_GUEST) if spec.stop_mode is StopMode.ASK else (Step.STOP,)
    discard = (Step.DISCARD_SAVED,) if found.saved_run is not None else ()
    if spec.power is Power.GONE:
        return ((Step.STOP,) if runs else ()) + (Step.REMOVE,)
    # A disk that is moved waits until the machine is off: nobody may write to it meanwhile.
    make_disks = (
        *((Step.CONVERT_DISKS,) if found.disks_moved else ()),
        *((Step.FETCH_IMAGE,) if found.images_missing else ()),
        *((Step.MAKE_DISKS,) if found.disks_missing else ()),
        *((Step.RESIZE_DISKS,) if found.disks_short else ()),
        *((Step.CHANGE_DEVICES,) if found.disks_left else ()),
    )
    if spec.power is Power.OFF:  # ended first: a disk that is lost keeps no machine from being cut off
        return (*(stop if runs else ()), *discard, *make_disks)
    if spec.power is Power.SAVED:
        return () if found.saved_run is not None else (Step.SAVE,)
    if found.running_run is not None and found.running_run >= spec.run:
        return _while_running(spec, found)
    if found.saved_run is not None and found.saved_run >= spec.run:
        # It goes on with the hardware that it was saved with.
        if spec.power is Power.PAUSED:
            return ()
        return (
            *((Step.FETCH_DISC,) if spec.disc or spec.second_disc else ()),
            *((Step.PREPARE_NETWORK,) if spec.nics else ()),
            Step.WAKE,
            *_limits(spec),
        )
    if not runs and found.ended_run is not None and found.ended_run >= spec.run:
        return make_disks
    return (
        *(stop if runs else ()),
        *discard,
        *((Step.FETCH_DISC,) if spec.disc or spec.second_disc else ()),
        *make_disks,
        *((Step.MAKE_SEED,) if found.seed_missing else ()),
        *((Step.PREPARE_NETWORK,) if spec.nics else ()),
        Step.LAUNCH,
        *_limits(spec),
        *((Step.CHANGE_MEMORY,) if spec.memory_mib < most_mib(spec) else ()),
    )


def _limits(spec: MachineSpec) -> tuple[Step, ...]:
    """A qemu that has just come up is limited by its cards alone."""
    return (Step.CHANGE_LIMITS,) if is_limited(spec) else ()


def _while_running(spec: MachineSpec, found: Found) -> tuple[Step, ...]:
    """What can be changed in a living machine; the rest waits for its next start."""
    wanted = [str(disc.image_id) if disc else None for disc in (spec.disc, spec.second_disc)]
    in_drives = [found.running_disc, found.running_second_disc]
    comes = any(new and new != old for new, old in zip(wanted, in_drives, strict=True))
    resume = (Step.RESUME,) if found.paused and spec.power is not Power.PAUSED else ()
    pause = (Step.PAUSE,) if spec.power is Power.PAUSED and not found.paused else ()
    left = found.disks_left - {disk.id for disk in found.changes.kept_disks}
    resize = found.disks_short or found.changes.grow or found.changes.shrink
    return (
        *resume,  # first: a guest that stands still lets go of nothing
        *((Step.FETCH_DISC,) if comes else ()),
        *((Step.FETCH_IMAGE,) if found.images_missing else ()),
        *((Step.MAKE_DISKS,) if found.disks_missing else ()),
        *((Step.RESIZE_DISKS,) if resize else ()),
        *((Step.CHANGE_DISC,) if wanted != in_drives else ()),
        *((Step.CHANGE_DEVICES,) if found.changes.devices or left else ()),
        *((Step.CHANGE_NETWORK,) if found.changes.wiring else ()),
        *((Step.CHANGE_LIMITS,) if found.changes.limits else ()),
        *((Step.CHANGE_BOOT,) if found.changes.boot else ()),
        *((Step.CHANGE_MEMORY,) if found.changes.memory_mib is not None else ()),
        *pause,
    )


def _to_go_back(spec: MachineSpec, act: RevertToSnapshot) -> tuple[Step, ...]:
    """The spec is the machine of then, so it is matched only when its disks are of then, too: started afterwards."""
    if spec.power is not Power.RUNNING:
        return (Step.REVERT_TO_SNAPSHOT,)
    memory = (Step.CHANGE_MEMORY,) if spec.memory_mib < most_mib(spec) else ()
    launch = (Step.LAUNCH, *_limits(spec), *memory)
    return (
        *((Step.FETCH_DISC,) if spec.disc or spec.second_disc else ()),
        Step.REVERT_TO_SNAPSHOT,
        *((Step.PREPARE_NETWORK,) if spec.nics else ()),
        *((Step.WAKE, *_limits(spec)) if act.memory else launch),
    )
