"""Lines of the activity. A line is added and never changed; triggers of the database refuse it too (triggers.py)."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from django.db import models
from django.utils import timezone

from portal.audit.actions import ObjectKind, Result

CONTENT = (
    "at", "actor_id", "actor_name", "acting_for_id", "acting_for_name", "action", "object_kind", "object_id",
    "object_name", "address", "session", "operation_id", "result", "details_json",
)  # fmt: skip
"""What a line says. It is fixed when the line is added; its place in the chain follows on commit."""


class Append(models.QuerySet["Entry"]):
    """Lines are read and added."""

    def update(self, **_changes: Any) -> NoReturn:
        """Refused."""
        raise TypeError("a line of the activity is never changed")

    def delete(self) -> NoReturn:
        """Refused."""
        raise TypeError("a line of the activity is never deleted")

    def bulk_update(self, *_args: Any, **_words: Any) -> NoReturn:
        """Refused."""
        raise TypeError("a line of the activity is never changed")


class Entry(models.Model):
    """One line. No foreign keys: it says what was so then, whoever and whatever was deleted since.

    `actor` is who really did it; `acting_for` whom an administrator acted as. `sequence`, `previous` and `hash` are its place in
    the chain (chain.py).
    """

    at = models.DateTimeField(default=timezone.now)
    actor_id = models.BigIntegerField(null=True)
    actor_name = models.CharField(max_length=150, blank=True)
    acting_for_id = models.BigIntegerField(null=True)
    acting_for_name = models.CharField(max_length=150, blank=True)
    action = models.CharField(max_length=48)
    object_kind = models.CharField(max_length=12, blank=True, choices=ObjectKind.choices)
    object_id = models.CharField(max_length=64, blank=True)
    object_name = models.CharField(max_length=150, blank=True)
    address = models.CharField(max_length=45, blank=True)
    session = models.CharField(max_length=16, blank=True, help_text="of its key's hash")
    operation_id = models.UUIDField(null=True, help_text="the operation that it asked for, or that ended")
    result = models.CharField(max_length=12, choices=Result.choices)
    details_json = models.TextField(default="{}")

    sequence = models.BigIntegerField(null=True, unique=True)
    previous = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64, blank=True)

    objects = Append.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "entries"
        indexes = [
            models.Index(fields=["object_kind", "object_id", "-id"], name="audit_of_an_object"),
            models.Index(fields=["actor_id", "-id"], name="audit_of_a_person"),
            models.Index(fields=["acting_for_id", "-id"], name="audit_as_a_person"),
            models.Index(fields=["action", "-id"], name="audit_of_an_action"),
            models.Index(fields=["at"], name="audit_of_a_day"),
            models.Index(
                fields=["operation_id"], name="audit_of_an_operation", condition=~models.Q(operation_id=None)
            ),
            models.Index(fields=["id"], name="audit_not_chained", condition=models.Q(sequence=None)),
        ]

    def __str__(self) -> str:
        return f"{self.actor_name} {self.action} {self.object_name}"

    def save(self, *args: Any, **words: Any) -> None:
        """Only once."""
        if self.pk is not None:
            raise TypeError("a line of the activity is never changed")
        super().save(*args, **words)

    def delete(self, *_args: Any, **_words: Any) -> NoReturn:
        """Refused."""
        raise TypeError("a line of the activity is never deleted")

    @property
    def details(self) -> dict[str, Any]:
        """What else there is to say."""
        said: dict[str, Any] = json.loads(self.details_json)
        return said


class Head(models.Model):
    """The end of the chain, one row: how many lines there are and the last one's hash, under the site's own seal.

    Who adds to the chain holds its lock, for as long as that takes and no longer.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    count = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64, blank=True)
    seal = models.CharField(max_length=64, blank=True)
    checked_at = models.DateTimeField(null=True)
    checked_count = models.BigIntegerField(default=0)
    problem = models.CharField(max_length=300, blank=True, help_text="what the last check found")

    def __str__(self) -> str:
        return f"{self.count} lines"
