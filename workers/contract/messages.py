"""The messages themselves: what the portal asks of a host, and what a host reports."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from workers.contract.acts import Act
from workers.contract.errors import ErrorCode
from workers.contract.host import HostFacts, HostUsage
from workers.contract.jobs import Facts, Job
from workers.contract.spec import MachineSpec
from workers.contract.version import Message

HostName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")]

PORTAL_QUEUE = "portal"
TASK_APPLY = "offshoot.apply"
TASK_JOB = "offshoot.job"
TASK_FORGET_IMAGE = "offshoot.forget_image"
TASK_REPORTS = "offshoot.reports"
"""What was to be told within a moment, together: a list of pairs, REPORT_PROGRESS or REPORT_OBSERVED and the message."""
TASK_HEARTBEAT = "offshoot.heartbeat"
REPORT_PROGRESS = "progress"
REPORT_OBSERVED = "observed"


def host_queue(host: str) -> str:
    """The queue that only the named host's worker reads."""
    return f"host.{host}"


class Step(StrEnum):
    """The steps of applying a spec, of an act and of a job."""

    FETCH_DISC = "fetch_disc"
    FETCH_IMAGE = "fetch_image"
    MAKE_DISKS = "make_disks"
    CONVERT_DISKS = "convert_disks"
    RESIZE_DISKS = "resize_disks"
    MAKE_SEED = "make_seed"
    PREPARE_NETWORK = "prepare_network"
    LAUNCH = "launch"
    WAKE = "wake"
    CHANGE_DISC = "change_disc"
    CHANGE_DEVICES = "change_devices"
    CHANGE_MEMORY = "change_memory"
    CHANGE_NETWORK = "change_network"
    CHANGE_LIMITS = "change_limits"
    CHANGE_BOOT = "change_boot"
    PAUSE = "pause"
    RESUME = "resume"
    SAVE = "save"
    DISCARD_SAVED = "discard_saved"
    ASK_GUEST = "ask_guest"
    STOP = "stop"
    REMOVE = "remove"
    RESET = "reset"
    TAKE_SNAPSHOT = "take_snapshot"
    REVERT_TO_SNAPSHOT = "revert_to_snapshot"
    DELETE_SNAPSHOT = "delete_snapshot"
    FREEZE_DISKS = "freeze_disks"
    TAKE_BACKUP = "take_backup"
    VERIFY_BACKUP = "verify_backup"
    DELETE_BACKUP = "delete_backup"
    EXPORT_MACHINE = "export_machine"
    SEND_EXPORT = "send_export"
    SET_PASSWORD = "set_password"  # noqa: S105  a step
    CHECK_IMAGE = "check_image"
    FORGET_BASE = "forget_base"
    MAKE_BRIDGE = "make_bridge"
    REMOVE_BRIDGE = "remove_bridge"


ASK_SECONDS = 60.0
"""How long a guest has to shut down once it was asked; the progress of ASK_GUEST counts it."""


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
    """Portal to host: make the host match this spec, then carry out the act if there is one, for this operation."""

    operation_id: UUID
    spec: MachineSpec
    act: Act | None = None


class DoJob(Message):
    """Portal to host: do this, which belongs to no machine. Sent again until its end is heard; doing it twice is harmless."""

    operation_id: UUID
    job: Job


class ForgetImage(Message):
    """Portal to host: the library dropped this image; its cached copy may go."""

    image_id: UUID


class Progress(Message):
    """Host to portal: how far an operation is.

    `sequence` grows with every report of a machine, so that a late one never overwrites a newer one.
    """

    operation_id: UUID
    machine_id: UUID | None = Field(description="None for a job")
    generation: int
    sequence: int
    state: OperationState
    steps: tuple[StepReport, ...] = ()
    error: ErrorReport | None = None
    facts: Facts | None = Field(default=None, description="what came out of it, where something did")


class Observed(StrEnum):
    """The power state that a host sees."""

    RUNNING = "running"
    OFF = "off"
    PAUSED = "paused"
    SAVED = "saved"
    GONE = "gone"


class PauseReason(StrEnum):
    """Why a machine stands still: a person paused it, its disk failed, the host's disk is full, its kernel panicked."""

    PERSON = "person"
    IO_ERROR = "io_error"
    NO_SPACE = "no_space"
    PANIC = "panic"


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


class AgentState(StrEnum):
    """Whether the guest's agent can be spoken to."""

    ABSENT = "absent"
    SILENT = "silent"
    ANSWERS = "answers"


class AgentFacts(Message):
    """What the guest itself says, by its agent. Addresses without those of its loopback."""

    state: AgentState
    system: str = Field(default="", max_length=200, description="name and version of its operating system")
    host_name: str = Field(default="", max_length=255)
    addresses: tuple[str, ...] = Field(default=(), max_length=64)


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
    run: int = Field(default=0, ge=0, description="the newest start that the host knows of")
    power: Observed
    paused_for: PauseReason | None = None
    reason: EndReason | None = None
    exit_detail: str = ""
    guest_resets: int = Field(default=0, ge=0, description="how often the guest restarted itself in this run")
    pending: tuple[str, ...] = Field(
        default=(), description="what of the spec counts only from the next start on"
    )
    memory_now_mib: int | None = Field(default=None, description="what the balloon leaves to the guest")
    agent: AgentFacts | None = None
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
