"""What the operations work with on this host."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from workers.config import HostConfig
from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.host import KvmAnswer, KvmProbe
from workers.contract.messages import AgentFacts, MachineObserved, Progress
from workers.contract.spec import DiscSpec, DiskSpec, MachineSpec
from workers.host.backup_places import OURS
from workers.host.backup_store import Store
from workers.host.disks import takes_direct_io
from workers.host.library import cached
from workers.host.made import Spot
from workers.host.monitor import MonitorLoop
from workers.plan.names import MachineFolder, disk_file_name
from workers.plan.qemu import Accelerator


class PlaceMissing(OffshootError):
    """A pool or backup folder that this host does not have, or that is not mounted now."""

    code = ErrorCode.PLACE_MISSING


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
    agent_facts: Callable[[UUID], AgentFacts | None] = lambda _: None
    """What a running guest's agent has said last, None where it is not known yet."""
    _sequence: int = field(default=0)

    def folder(self, machine_id: UUID) -> MachineFolder:
        """The machine's folder on this host."""
        return self.config.state.machine(machine_id)

    def disk_file(self, machine_id: UUID, disk: DiskSpec) -> Path:
        """Where a machine's disk lies: beside the machine, or in the pool that is wanted. Raises PlaceMissing."""
        return self.disk_at(machine_id, disk.id, Spot.wanted(disk))

    def disk_at(self, machine_id: UUID, disk_id: UUID, spot: Spot) -> Path:
        """Where a disk of this kind lies in this pool. Raises PlaceMissing."""
        folder = (
            self.folder(machine_id).root if spot.pool is None else self.pool_folder(spot.pool, machine_id)
        )
        return folder / disk_file_name(disk_id, spot.kind)

    def pool_folder(self, pool: str, machine_id: UUID) -> Path:
        """The machine's folder in a pool. Raises PlaceMissing where this host has no such pool, or its disk is not mounted."""
        ours = self._place(self.config.pools, pool) / "offshoot"
        if not ours.is_dir():
            raise PlaceMissing(f"{ours} is not there: is the disk of pool {pool!r} mounted?")
        return ours / str(machine_id)

    def base_folder(self, pool: str | None) -> Path:
        """Where the frozen disks of a pool lie. Raises PlaceMissing."""
        if pool is None:
            return self.config.state.bases
        return self.pool_folder(pool, UUID(int=0)).parent / "bases"

    def takes_direct_io(self, spec: MachineSpec) -> bool:
        """Every disk of the machine lies where the kernel takes O_DIRECT. Raises PlaceMissing."""
        pools = {disk.pool for disk in spec.disks if disk.pool is not None}
        folders = [self.pool_folder(pool, spec.machine_id).parent for pool in sorted(pools)]
        return self.direct_io and all(takes_direct_io(folder) for folder in folders)

    def disk_folders(self, machine_id: UUID) -> tuple[Path, ...]:
        """Where disks of a machine may lie: beside it, and in each pool that is there."""
        folders = [self.folder(machine_id).root]
        for pool in self.config.pools:
            try:
                folders.append(self.pool_folder(pool, machine_id))
            except PlaceMissing:
                continue
        return tuple(folder for folder in folders if folder.is_dir())

    def backup_folder(self, place: str, machine_id: UUID) -> Path:
        """Where the backups of a machine lie. Raises PlaceMissing where this host has no such place, or it is not mounted."""
        ours = self._place(self.config.backup_places, place) / OURS
        if not ours.is_dir():
            raise PlaceMissing(f"{ours} is not there: is the disk or share of {place!r} mounted?")
        return ours / str(machine_id)

    def backup_store(self, place: str, machine_id: UUID) -> Store:
        """The backups of a machine in a place. Raises PlaceMissing."""
        lock = self.config.state.root / "backup-locks" / f"{machine_id}.{place}"
        return Store(self.backup_folder(place, machine_id), lock)

    def _place(self, places: Mapping[str, Path], name: str) -> Path:
        path = places.get(name)
        if path is None or not path.is_dir():
            raise PlaceMissing(f"{name!r} is not a folder of {self.config.name}")
        return path

    def disc_file(self, disc: DiscSpec | None) -> Path | None:
        """This host's copy of a disc; None where the drive is empty."""
        return cached(disc.image_id, self.config.state.images) if disc else None

    def next_sequence(self) -> int:
        """Greater than every one before, also before a restart of the worker (the clock's nanoseconds)."""
        self._sequence = max(self._sequence + 1, time.time_ns())
        return self._sequence

    @property
    def accelerator(self) -> Accelerator:
        """KVM where it was seen to work, else emulation."""
        return "kvm" if self.kvm().answer is KvmAnswer.WORKS else "tcg"
