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


STARTING = (Kind.CREATE, Kind.START, Kind.RESTART)
"""What ends with a running machine."""

OPEN_STATES = [OperationState.QUEUED.value, OperationState.RUNNING.value]


class Operation(models.Model):
    """One thing that was asked of one machine.

    It is written in the same transaction as the change that it carries, `message` included; `sent_at` is set when
    the broker has it. A periodic task sends what was not sent, and what was sent and never heard of again.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=24, choices=Kind.choices)
    machine = models.ForeignKey(
        "machines.Machine", null=True, on_delete=models.SET_NULL, related_name="operations"
    )
    machine_name = models.CharField(max_length=63)
    host = models.ForeignKey("fleet.Host", null=True, on_delete=models.SET_NULL, related_name="operations")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    generation = models.PositiveIntegerField()
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
