"""What the operations work with on this host."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from workers.config import HostConfig
from workers.contract.host import KvmAnswer, KvmProbe
from workers.contract.messages import MachineObserved, Progress
from workers.host.monitor import MonitorLoop
from workers.plan.names import MachineFolder
from workers.plan.qemu import Accelerator


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
