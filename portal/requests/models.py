"""What people ask for, how it went, and the rules of asking."""

from __future__ import annotations

import uuid
from datetime import date
from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _


class Wanted(models.TextChoices):
    """What can be asked for."""

    MACHINE = "machine", _("A new machine")
    FROM_TEMPLATE = "from_template", _("A machine from a template")
    CLONE = "clone", _("A clone")
    RESTORE = "restore", _("A machine from a backup")
    SIZE = "size", _("A larger machine")
    DISK = "disk", _("One more disk")
    LARGER_DISK = "larger_disk", _("A larger disk")
    CARD = "card", _("A network card")
    QUOTA = "quota", _("A larger quota")


class State(models.TextChoices):
    """How far it is."""

    WAITING = "waiting", _("Waiting")
    ASKED_BACK = "asked_back", _("Asked back")
    APPROVED = "approved", _("Approved")
    APPROVED_LESS = "approved_less", _("Approved with less")
    DECLINED = "declined", _("Declined")
    WITHDRAWN = "withdrawn", _("Withdrawn")
    EXPIRED = "expired", _("Expired")


OPEN = (State.WAITING, State.ASKED_BACK)
"""What can still be decided, answered or withdrawn."""


class Request(models.Model):
    """One wish of one person, for themselves or for a team. `wish` is read by requests/wishes.py alone."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    wanted = models.CharField(max_length=16, choices=Wanted.choices)
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="requests")
    team = models.ForeignKey(
        "teams.Team", null=True, blank=True, on_delete=models.CASCADE, related_name="requests",
        help_text="whose machine or quota it is to be; empty: the person's",
    )  # fmt: skip
    wish: models.JSONField[Any, Any] = models.JSONField()
    granted: models.JSONField[Any, Any] = models.JSONField(
        null=True, help_text="what was approved, where less was than was asked for"
    )
    reason = models.TextField(max_length=2000)
    until = models.DateField(
        null=True, blank=True, help_text="it is needed no longer than to the end of that day"
    )
    granted_until = models.DateField(
        null=True, blank=True, help_text="where it was approved for a shorter time"
    )
    state = models.CharField(max_length=16, choices=State.choices, default=State.WAITING)
    asked_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    machine = models.OneToOneField(
        "machines.Machine", null=True, blank=True, on_delete=models.SET_NULL, related_name="request",
        help_text="what came of it",
    )  # fmt: skip

    class Meta:
        ordering = ["-asked_at"]
        indexes = [models.Index(fields=["state", "expires_at"], name="requests_that_wait")]

    def __str__(self) -> str:
        return f"{self.wanted} for {self.asked_by_id}"

    @property
    def lasts_until(self) -> date | None:
        """The last day, as it was approved or as it is asked for."""
        return self.granted_until or self.until

    @property
    def is_open(self) -> bool:
        """Nobody has decided yet."""
        return self.state in OPEN


class Happened(models.TextChoices):
    """What can happen to a request."""

    ASKED = "asked", _("Asked for")
    ASKED_BACK = "asked_back", _("Asked back")
    ANSWERED = "answered", _("Answered")
    APPROVED = "approved", _("Approved")
    APPROVED_LESS = "approved_less", _("Approved with less")
    DECLINED = "declined", _("Declined")
    WITHDRAWN = "withdrawn", _("Withdrawn")
    EXPIRED = "expired", _("Expired")


class Event(models.Model):
    """One moment of a request's time line; nobody changes one afterwards."""

    request = models.ForeignKey(Request, on_delete=models.CASCADE, related_name="events")
    what = models.CharField(max_length=16, choices=Happened.choices)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    at = models.DateTimeField(auto_now_add=True)
    comment = models.TextField(blank=True, max_length=2000)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.what} {self.request_id}"


class Rules(models.Model):
    """The rules of asking; the only row. Where there is none, the columns' defaults count."""

    ONLY = 1

    approve_own = models.BooleanField(default=False, help_text="approvers may decide about their own wishes")
    days = models.PositiveSmallIntegerField(
        default=14,
        validators=[MinValueValidator(1), MaxValueValidator(365)],
        help_text="after how many days an undecided request expires",
    )

    class Meta:
        verbose_name_plural = "rules"

    def __str__(self) -> str:
        return "rules"
