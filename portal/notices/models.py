"""Notices, what each person chose, and the letters that wait for a mail server."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from portal.notices.kinds import Way


class Notice(models.Model):
    """One sentence for one person."""

    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notices")
    kind = models.CharField(max_length=24)
    text = models.CharField(max_length=600)
    link = models.CharField(max_length=200, blank=True, help_text="a path of this site")
    at = models.DateTimeField(default=timezone.now)
    read_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["person", "-id"], name="notices_of_a_person"),
            models.Index(fields=["person"], name="notices_unread", condition=models.Q(read_at=None)),
        ]

    def __str__(self) -> str:
        return self.text


class Choice(models.Model):
    """Where a person wants a kind of notice."""

    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notice_choices"
    )
    kind = models.CharField(max_length=24)
    way = models.CharField(max_length=4, choices=[(each.value, each.value) for each in Way])

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["person", "kind"], name="one_choice_a_person_and_kind")
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.way}"


class Letter(models.Model):
    """A mail on its way. It stays until a mail server has taken it, or nobody would want it any more."""

    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="letters")
    to = models.CharField(max_length=254)
    subject = models.CharField(max_length=200)
    body = models.TextField()
    written_at = models.DateTimeField(default=timezone.now)
    tries = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True)
    given_up_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(
                fields=["next_at"],
                name="letters_that_wait",
                condition=models.Q(sent_at=None, given_up_at=None),
            )
        ]

    def __str__(self) -> str:
        return self.subject
