"""Machines shared with others, and machines offered to them."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from portal.rights.levels import Level

LEVEL_WORDS = {
    Level.SEE: _("see it"),
    Level.VIEW_CONSOLE: _("look at its screen"),
    Level.USE_CONSOLE: _("use its screen"),
    Level.OPERATE: _("operate it"),
    Level.MANAGE: _("manage it"),
    Level.OWN: _("own it"),
}
_WHOM = Q(user__isnull=True, team__isnull=False) | Q(user__isnull=False, team__isnull=True)


def not_over() -> Q:
    """Of shares, those that count now: the clock alone decides, whatever has been cleared away."""
    return Q(ends_on=None) | Q(ends_on__gte=timezone.now().date())


class Share(models.Model):
    """What a person or a team may do with a machine that is somebody else's, until it is withdrawn or its last day is over."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    machine = models.ForeignKey("machines.Machine", on_delete=models.CASCADE, related_name="shares")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="shares"
    )
    team = models.ForeignKey("teams.Team", null=True, on_delete=models.CASCADE, related_name="shares")
    level = models.PositiveSmallIntegerField(choices=[(x.value, words) for x, words in LEVEL_WORDS.items()])
    given_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    since = models.DateTimeField(auto_now_add=True)
    ends_on = models.DateField(null=True, db_index=True, help_text="the last day on which it counts")

    class Meta:
        ordering = ["since"]
        constraints = [
            models.CheckConstraint(condition=_WHOM, name="a_share_is_with_a_person_or_a_team"),
            models.UniqueConstraint(fields=["machine", "user"], name="one_share_a_machine_and_person"),
            models.UniqueConstraint(fields=["machine", "team"], name="one_share_a_machine_and_team"),
        ]

    def __str__(self) -> str:
        return f"{self.machine_id} with {self.user or self.team}"


class Offer(models.Model):
    """A machine that shall be another person's, as soon as they take it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    machine = models.OneToOneField("machines.Machine", on_delete=models.CASCADE, related_name="offer")
    to = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="offers")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    made_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["made_at"]

    def __str__(self) -> str:
        return f"{self.machine_id} to {self.to}"
