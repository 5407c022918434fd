"""The messages themselves: what the portal asks of a host, and what a host reports."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from workers.contract.errors import ErrorCode
from workers.contract.host import HostFacts, HostUsage
from workers.contract.spec import MachineSpec
from workers.contract.version import Message

HostName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")]

PORTAL_QUEUE = "portal"
TASK_APPLY = "offshoot.apply"
TASK_FORGET_IMAGE = "offshoot.forget_image"
TASK_PROGRESS = "offshoot.progress"
TASK_OBSERVED = "offshoot.observed"
TASK_HEARTBEAT = "offshoot.heartbeat"


def host_queue(host: str) -> str:
    """The queue that only the named host's worker reads."""
    return f"host.{host}"


class Step(StrEnum):
    """The steps of applying a spec, in the order in which they happen."""

    FETCH_DISC = "fetch_disc"
    MAKE_DISKS = "make_disks"
    PREPARE_NETWORK = "prepare_network"
    LAUNCH = "launch"
    CHANGE_DISC = "change_disc"
    ASK_GUEST = "ask_guest"
    STOP = "stop"
    REMOVE = "remove"


class StepState(StrEnum):
    """How far a step is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class StepReport(Message):
    """One step with its progress in per cent."""

    step: Step
    state: StepState
    percent: int = Field(default=0, ge=0, le=100)


class OperationState(StrEnum):
    """How far an operation is; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SUPERSEDED = "superseded"


class ErrorReport(Message):
    """An error with its code for the sentence on the page and detail for the expert."""

    code: ErrorCode
    detail: str = ""


class ApplyMachine(Message):
    """Portal to host: make the host match this spec, on behalf of this operation."""

    operation_id: UUID
    spec: MachineSpec


class ForgetImage(Message):
    """Portal to host: the library dropped this image; its cached copy may go."""

    image_id: UUID


class Progress(Message):
    """Host to portal: how far an operation is.

    `sequence` grows with every report of a machine, so that a late one never overwrites a newer one.
    """

    operation_id: UUID
    machine_id: UUID
    generation: int
    sequence: int
    state: OperationState
    steps: tuple[StepReport, ...] = ()
    error: ErrorReport | None = None


class Observed(StrEnum):
    """The power state that a host sees."""

    RUNNING = "running"
    OFF = "off"
    PAUSED = "paused"
    GONE = "gone"


class EndReason(StrEnum):
    """Why a machine is off."""

    NEVER_STARTED = "never_started"
    GUEST = "guest"
    PERSON = "person"
    CRASH = "crash"
    HOST = "host"
    UNSEEN = "unseen"


class NicFacts(Message):
    """A network card as it is on the host."""

    mac: str
    bridge: str
    tap: str
    leased_address: str | None = Field(description="what DHCP gave out, None until the guest asked")


class UnderTheHood(Message):
    """What an expert wants to see: what was really run."""

    argv: tuple[str, ...] = ()
    accelerator: str = ""
    firewall: str = ""
    console_log: str = ""
    qemu_log: str = ""
    state_folder: str = ""


class MachineObserved(Message):
    """Host to portal: what a machine is now. Carries the last operation's end too, should its report be lost."""

    host: HostName
    machine_id: UUID
    generation: int
    sequence: int
    power: Observed
    reason: EndReason | None = None
    exit_detail: str = ""
    accelerator: str | None = None
    nics: tuple[NicFacts, ...] = ()
    operation: Progress | None = None
    under_the_hood: UnderTheHood | None = None


class Heartbeat(Message):
    """Host to portal, every few seconds: I am here, this is what I have, these are my machines."""

    host: HostName
    sequence: int
    started: int = Field(description="when the worker started, seconds since the epoch")
    gateway: str = Field(description="where the console gateway listens: unix:/path or ws(s)://address:port")
    facts: HostFacts
    usage: HostUsage
    machines: tuple[MachineObserved, ...] = ()
