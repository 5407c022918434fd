"""Web hooks and what was sent to them."""

from __future__ import annotations

import secrets
import uuid
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import models
from django.utils import timezone


def new_secret() -> str:
    """What a receiver knows that a message is from here by."""
    return secrets.token_urlsafe(32)


class Hook(models.Model):
    """An address that is told certain kinds of notices."""

    name = models.CharField(max_length=63, unique=True)
    address = models.CharField(max_length=500)
    secret = models.CharField(max_length=64, default=new_secret)
    kinds: models.JSONField[Any, Any] = models.JSONField(default=list)
    is_on = models.BooleanField(default=True)
    failures = models.PositiveIntegerField(default=0, help_text="in a row")
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    made_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def host(self) -> str:
        """What may be said of the address to everybody: many receivers know a sender by the rest of it."""
        return urlsplit(self.address).hostname or ""


class Delivery(models.Model):
    """One message to one hook; it waits until it was taken or given up."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    hook = models.ForeignKey(Hook, on_delete=models.CASCADE, related_name="deliveries")
    kind = models.CharField(max_length=24)
    body = models.TextField()
    at = models.DateTimeField(default=timezone.now)
    tries = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField(default=timezone.now)
    status = models.PositiveSmallIntegerField(null=True, help_text="what the receiver answered last")
    problem = models.CharField(max_length=300, blank=True)
    done_at = models.DateTimeField(null=True)
    given_up_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-at"]
        verbose_name_plural = "deliveries"
        indexes = [
            models.Index(fields=["hook", "-at"], name="deliveries_of_a_hook"),
            models.Index(
                fields=["next_at"],
                name="deliveries_that_wait",
                condition=models.Q(done_at=None, given_up_at=None),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.hook}"

    @property
    def waits(self) -> bool:
        """It is still to be taken."""
        return self.done_at is None and self.given_up_at is None
