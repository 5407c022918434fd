"""Backups, and the plans that take them."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

MOST_KEPT = 366


class BackupState(models.TextChoices):
    """How far a backup is. A damaged one is kept: part of it may still be of use."""

    TAKING = "taking", _("Being taken")
    READY = "ready", _("Ready")
    DAMAGED = "damaged", _("Damaged")
    DELETING = "deleting", _("Being deleted")


class Every(models.TextChoices):
    """How often a plan takes a backup."""

    DAY = "day", _("Every day")
    WEEK = "week", _("Every week")


class Backup(models.Model):
    """A machine as it was: `spec` is the wish it was taken with. It outlives its machine, whose id stays in `source_id`."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    machine = models.ForeignKey(
        "machines.Machine", null=True, on_delete=models.SET_NULL, related_name="backups"
    )
    source_id = models.UUIDField()
    machine_name = models.CharField(max_length=63)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="backups")
    team = models.ForeignKey(
        "teams.Team", null=True, blank=True, on_delete=models.PROTECT, related_name="backups",
        help_text="the machine's, when it was taken or handed over",
    )  # fmt: skip
    host = models.ForeignKey("fleet.Host", on_delete=models.PROTECT, related_name="backups")
    place = models.CharField(max_length=32)
    is_planned = models.BooleanField(default=False)
    state = models.CharField(max_length=8, default=BackupState.TAKING, choices=BackupState.choices)
    asked_at = models.DateTimeField(auto_now_add=True)
    taken_at = models.DateTimeField(null=True)
    is_incremental = models.BooleanField(default=False)
    stored_bytes = models.BigIntegerField(default=0)
    verified_at = models.DateTimeField(null=True)
    problem_code = models.CharField(max_length=40, blank=True)
    problem_detail = models.TextField(blank=True)
    spec: models.JSONField[Any, Any] = models.JSONField()

    class Meta:
        ordering = ["-asked_at"]
        indexes = [models.Index(fields=["source_id", "place", "state"])]

    def __str__(self) -> str:
        return f"{self.machine_name} {self.asked_at:%Y-%m-%d %H:%M}"


class BackupPlan(models.Model):
    """When a machine is backed up by itself, in UTC. `next_at` is None while the plan is off."""

    machine = models.OneToOneField(
        "machines.Machine", primary_key=True, on_delete=models.CASCADE, related_name="backup_plan"
    )
    is_on = models.BooleanField(default=True)
    every = models.CharField(max_length=4, choices=Every.choices)
    weekday = models.PositiveSmallIntegerField(default=0, help_text="0 is Monday; counts for a weekly one")
    at = models.TimeField()
    place = models.CharField(max_length=32)
    keep = models.PositiveSmallIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(MOST_KEPT)],
        help_text="of those that the plan took",
    )
    next_at = models.DateTimeField(null=True)
    problem = models.TextField(blank=True, help_text="why the last one was not begun")

    class Meta:
        indexes = [models.Index(fields=["next_at"])]

    def __str__(self) -> str:
        return f"{self.machine} {self.every}"
