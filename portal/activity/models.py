"""Operations: what a person asked for, and its outbox entry: the message that has to reach a host."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from workers.contract.messages import OperationState


class Kind(models.TextChoices):
    """What can be asked for; the words stand on the page."""

    CREATE = "create", _("Create")
    START = "start", _("Start")
    SHUT_DOWN = "shut_down", _("Shut down")
    RESTART = "restart", _("Restart")
    FORCE_OFF = "force_off", _("Force off")
    FINISH_INSTALLATION = "finish_installation", _("Finish the installation")
    INSERT_DISC = "insert_disc", _("Insert a disc")
    DELETE = "delete", _("Delete")
    PAUSE = "pause", _("Pause")
    RESUME = "resume", _("Resume")
    SAVE = "save", _("Hibernate")
    WAKE = "wake", _("Wake")
    RESET = "reset", _("Reset")
    RENEW = "renew", _("Make anew")
    CHANGE = "change", _("Change")
    CANCEL = "cancel", _("Cancel")
    TAKE_SNAPSHOT = "take_snapshot", _("Take a snapshot")
    REVERT = "revert", _("Go back to a snapshot")
    DELETE_SNAPSHOT = "delete_snapshot", _("Delete a snapshot")
    FREEZE = "freeze", _("Freeze the disks")
    MOVE_DISK = "move_disk", _("Move a disk")
    BACKUP = "backup", _("Back up")
    EXPORT = "export", _("Export")
    SET_PASSWORD = "set_password", _("Set a password")
    CHECK_IMAGE = "check_image", _("Check a disk image")
    FORGET_BASE = "forget_base", _("Remove a template")
    DELETE_BACKUP = "delete_backup", _("Delete a backup")
    VERIFY_BACKUP = "verify_backup", _("Verify a backup")
    MAKE_BRIDGE = "make_bridge", _("Make a bridge")
    REMOVE_BRIDGE = "remove_bridge", _("Remove a bridge")


STARTING = (Kind.CREATE, Kind.START, Kind.RESTART, Kind.WAKE)
"""What ends with a running machine."""

EXCLUSIVE = (
    Kind.TAKE_SNAPSHOT, Kind.REVERT, Kind.DELETE_SNAPSHOT, Kind.FREEZE, Kind.BACKUP, Kind.EXPORT, Kind.SAVE,
    Kind.SET_PASSWORD, Kind.MOVE_DISK,
)  # fmt: skip
"""What has to end before anything else is asked of the machine, but to cancel it, to cut it off or to delete it."""

CANCELLABLE = (Kind.BACKUP, Kind.EXPORT, Kind.CHANGE, Kind.SAVE, Kind.TAKE_SNAPSHOT, Kind.MOVE_DISK)
"""What a person may end early; nothing of it is left then."""

OPEN_STATES = [OperationState.QUEUED.value, OperationState.RUNNING.value]


class Operation(models.Model):
    """One thing that was asked of one machine, or of a host (`machine` and `machine_name` are empty then).

    It is written in the same transaction as the change that it carries, `message` included; `sent_at` is set when
    the broker has it. A periodic task sends what was not sent, and what was sent and never heard of again.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=24, choices=Kind.choices)
    machine = models.ForeignKey(
        "machines.Machine", null=True, on_delete=models.SET_NULL, related_name="operations"
    )
    machine_name = models.CharField(max_length=63, blank=True)
    host = models.ForeignKey("fleet.Host", null=True, on_delete=models.SET_NULL, related_name="operations")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    generation = models.PositiveIntegerField(default=0)
    after = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="followers",
        help_text="what has to be done before this is sent",
    )  # fmt: skip
    about = models.UUIDField(null=True, help_text="the snapshot, backup, image … that it is about")
    facts: models.JSONField[Any, Any] = models.JSONField(null=True, help_text="what came out of it")
    state = models.CharField(
        max_length=12, default=OperationState.QUEUED, choices=[(x.value, x.value) for x in OperationState]
    )
    steps: models.JSONField[Any, Any] = models.JSONField(default=list)
    error_code = models.CharField(max_length=40, blank=True)
    error_detail = models.TextField(blank=True)
    message: models.JSONField[Any, Any] = models.JSONField()
    sequence = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True)
    reported_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["state", "sent_at"], name="outbox"),
            models.Index(fields=["machine", "-created_at"], name="machine_history"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.machine_name}"

    @property
    def is_open(self) -> bool:
        """Neither done nor failed nor overtaken by a later wish."""
        return self.state in OPEN_STATES
