"""The one exception family of Offshoot and the codes that cross from a host to the pages."""

from __future__ import annotations

from enum import StrEnum


class ErrorCode(StrEnum):
    """Every error that can reach a person; the sentence for each lives in portal/activity/errors.py."""

    AGENT_ABSENT = "agent_absent"
    AGENT_FAILED = "agent_failed"
    BACKUP_FAILED = "backup_failed"
    BACKUP_DAMAGED = "backup_damaged"
    BAD_MESSAGE = "bad_message"
    BASE_MISSING = "base_missing"
    BASE_IN_USE = "base_in_use"
    BRIDGE_FAILED = "bridge_failed"
    BRIDGE_MISSING = "bridge_missing"
    BRIDGE_REFUSED = "bridge_refused"
    BRIDGE_TAKEN_BACK = "bridge_taken_back"
    COMMAND_FAILED = "command_failed"
    COMMAND_TIMED_OUT = "command_timed_out"
    DHCP_FAILED = "dhcp_failed"
    DISC_DAMAGED = "disc_damaged"
    DISC_UNREACHABLE = "disc_unreachable"
    DISK_FULL = "disk_full"
    DISK_FAILED = "disk_failed"
    DISK_LOST = "disk_lost"
    DISK_SHRINKS = "disk_shrinks"
    EXPORT_FAILED = "export_failed"
    FIREWALL_FAILED = "firewall_failed"
    FIRMWARE_MISSING = "firmware_missing"
    GUEST_IGNORED_SHUTDOWN = "guest_ignored_shutdown"
    HARDWARE_REFUSED = "hardware_refused"
    IMAGE_REFUSED = "image_refused"
    INTERNAL = "internal"
    LAUNCH_FAILED = "launch_failed"
    LIMIT_FAILED = "limit_failed"
    MEMORY_SHORT = "memory_short"
    MONITOR_FAILED = "monitor_failed"
    NOT_OFF = "not_off"
    NOT_RUNNING = "not_running"
    ORIGIN_FAILED = "origin_failed"
    PLACE_FULL = "place_full"
    PLACE_MISSING = "place_missing"
    PORT_TAKEN = "port_taken"
    SAVE_FAILED = "save_failed"
    SNAPSHOT_FAILED = "snapshot_failed"
    SNAPSHOT_MISSING = "snapshot_missing"
    SUBNET_TAKEN = "subnet_taken"
    SUPERSEDED = "superseded"
    TAP_FAILED = "tap_failed"
    TPM_FAILED = "tpm_failed"
    WAKE_FAILED = "wake_failed"
    VERSION_UNKNOWN = "version_unknown"


class OffshootError(Exception):
    """Root of the family: a code for the page, and technical detail for the expert."""

    code: ErrorCode = ErrorCode.INTERNAL

    def __init__(self, detail: str = "", *, code: ErrorCode | None = None) -> None:
        super().__init__(detail)
        if code is not None:
            self.code = code
        self.detail = detail


class MessageError(OffshootError):
    """A message did not fit the contract; it is refused, never guessed at."""

    code = ErrorCode.BAD_MESSAGE


class VersionError(MessageError):
    """A message speaks a version of the contract that this side does not know."""

    code = ErrorCode.VERSION_UNKNOWN
