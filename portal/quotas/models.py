"""Quotas, what was granted beside them, and networks that have to be asked for."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q


class Whose(models.TextChoices):
    """For whom a quota is: one person or team, or all of them that have none of their own."""

    PERSON = "person"
    TEAM = "team"
    EVERY_PERSON = "every_person"
    EVERY_TEAM = "every_team"


class _SevenLimits(models.Model):
    machines = models.PositiveIntegerField(null=True, blank=True)
    running = models.PositiveIntegerField(null=True, blank=True)
    cpus = models.PositiveIntegerField(null=True, blank=True)
    memory_mib = models.PositiveBigIntegerField(null=True, blank=True)
    disk_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    snapshots = models.PositiveIntegerField(null=True, blank=True)
    published_ports = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        abstract = True


class Quota(_SevenLimits):
    """At most so much; a column without a number limits nothing."""

    whose = models.CharField(max_length=12, choices=Whose.choices)
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="quota"
    )
    team = models.OneToOneField(
        "teams.Team", null=True, blank=True, on_delete=models.CASCADE, related_name="quota"
    )

    class Meta:
        ordering = ["whose", "pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(whose=Whose.PERSON, user__isnull=False, team__isnull=True)
                | Q(whose=Whose.TEAM, user__isnull=True, team__isnull=False)
                | Q(whose__in=(Whose.EVERY_PERSON, Whose.EVERY_TEAM), user__isnull=True, team__isnull=True),
                name="a_quota_is_for_one_or_for_all_others",
            ),
            models.UniqueConstraint(
                fields=["whose"],
                condition=Q(user__isnull=True, team__isnull=True),
                name="one_quota_for_all_others",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.whose} {self.user or self.team or ''}".strip()


class Raise(_SevenLimits):
    """Limits that a person has instead of lower ones, to the end of a day; what is behind them stays as it is."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="raises")
    ends_on = models.DateField(help_text="the last day on which it counts")
    reminded = models.BooleanField(default=False)

    class Meta:
        ordering = ["ends_on", "pk"]
        indexes = [models.Index(fields=["user", "ends_on"], name="raises_that_count")]

    def __str__(self) -> str:
        return f"of {self.user_id} to {self.ends_on}"


class Grant(models.Model):
    """What was approved over the quota for a machine: the quota is so much larger for as long as the machine is there.

    With a last day only to its end: the machine stays, and nothing new is to be had above the quota.
    """

    machine = models.ForeignKey("machines.Machine", on_delete=models.CASCADE, related_name="grants")
    machines = models.PositiveIntegerField(default=0)
    running = models.PositiveIntegerField(default=0)
    cpus = models.PositiveIntegerField(default=0)
    memory_mib = models.PositiveBigIntegerField(default=0)
    disk_bytes = models.PositiveBigIntegerField(default=0)
    snapshots = models.PositiveIntegerField(default=0)
    published_ports = models.PositiveIntegerField(default=0)
    granted_at = models.DateTimeField(auto_now_add=True)
    ends_on = models.DateField(null=True, help_text="the last day on which it counts")
    reminded = models.BooleanField(default=False)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"for {self.machine_id}"


class NetworkToAskFor(models.Model):
    """A network that nobody plugs a machine into without an approval."""

    network = models.OneToOneField("networks.Network", on_delete=models.CASCADE, related_name="to_ask_for")

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return str(self.network_id)
