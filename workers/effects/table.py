"""Which effect a step has. The only place where the two meet."""

from __future__ import annotations

from workers.contract.messages import Step
from workers.effects import (
    backup_jobs,
    backups,
    converting,
    devices,
    drives,
    ending,
    exporting,
    freezing,
    guest,
    importing,
    launching,
    limiting,
    making,
    power,
    resizing,
    saving,
    snapshots,
    tuning,
    wiring,
)
from workers.effects.work import Effect

EFFECTS: dict[Step, Effect] = {
    Step.FETCH_DISC: launching.fetch_disc,
    Step.FETCH_IMAGE: importing.fetch_image,
    Step.MAKE_DISKS: making.make_disks,
    Step.CONVERT_DISKS: converting.convert_disks,
    Step.EXPORT_MACHINE: exporting.export_machine,
    Step.SEND_EXPORT: exporting.send_export,
    Step.TAKE_BACKUP: backups.take_backup,
    Step.FREEZE_DISKS: freezing.freeze_disks,
    Step.MAKE_SEED: guest.make_seed,
    Step.PREPARE_NETWORK: launching.prepare_network,
    Step.LAUNCH: launching.launch,
    Step.RESIZE_DISKS: resizing.resize_disks,
    Step.CHANGE_DISC: drives.change_disc,
    Step.CHANGE_DEVICES: devices.change_devices,
    Step.CHANGE_LIMITS: limiting.change_limits,
    Step.CHANGE_NETWORK: wiring.change_network,
    Step.CHANGE_BOOT: tuning.change_boot,
    Step.CHANGE_MEMORY: tuning.change_memory,
    Step.ASK_GUEST: ending.ask_guest,
    Step.STOP: ending.stop,
    Step.REMOVE: ending.remove,
    Step.SET_PASSWORD: guest.set_password,
    Step.PAUSE: power.pause,
    Step.RESUME: power.resume,
    Step.RESET: power.reset,
    Step.SAVE: saving.save,
    Step.WAKE: saving.wake,
    Step.DISCARD_SAVED: saving.discard_saved,
    Step.TAKE_SNAPSHOT: snapshots.take_snapshot,
    Step.REVERT_TO_SNAPSHOT: snapshots.revert_to_snapshot,
    Step.DELETE_SNAPSHOT: snapshots.delete_snapshot,
}

making.ORIGINS["backup"] = backup_jobs.from_backup
