"""What a host and its machines take just now: one message a host every few seconds, and pictures of screens that are looked at."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field, model_validator

from workers.contract.messages import HostName
from workers.contract.version import Message

TASK_SAMPLES = "offshoot.samples"
SAMPLE_SECONDS = 5
"""How often a host is looked at, at whole multiples of it on its clock."""

MOST_MACHINES = 4000
_LARGEST = 1e15

Figure = Annotated[float, Field(ge=0, le=_LARGEST, allow_inf_nan=False)]
"""A rate a second, a share in per cent or a number of bytes."""


class Usage(Message):
    """What something took since the sample before; None where it is not known, as right after its start.

    `cpu_percent` is of one core, `cpu_own_percent` of all that it has. Memory in bytes; disk and network in bytes and
    operations or packets a second.
    """

    cpu_percent: Figure | None = None
    cpu_own_percent: Figure | None = None
    memory_bytes: Figure | None = None
    disk_read_bytes: Figure | None = None
    disk_write_bytes: Figure | None = None
    disk_reads: Figure | None = None
    disk_writes: Figure | None = None
    net_in_bytes: Figure | None = None
    net_out_bytes: Figure | None = None
    net_in_packets: Figure | None = None
    net_out_packets: Figure | None = None


class MachineUsage(Usage):
    """Of a running machine, as its host sees it; `guest_memory_bytes` is what its system says that its programs use."""

    machine_id: UUID
    guest_memory_bytes: Figure | None = None


class HostTotals(Usage):
    """Of the whole host, whoever took it; `load` is the one-minute load average."""

    load: Figure | None = None


class Samples(Message):
    """Host to portal: what everything here took in the seconds before `at` (Unix, of the host's clock)."""

    host: HostName
    at: int = Field(ge=0, le=1 << 40)
    sequence: int
    totals: HostTotals
    machines: tuple[MachineUsage, ...] = Field(default=(), max_length=MOST_MACHINES)

    @model_validator(mode="after")
    def _machines_are_named_once(self) -> Samples:
        if len({each.machine_id for each in self.machines}) != len(self.machines):
            raise ValueError("a machine is named twice")
        return self
