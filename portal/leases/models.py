"""End dates and schedules of machines, what was said of idle ones, and the rules of all that."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

WEEKDAYS = [(0, _("Mon")), (1, _("Tue")), (2, _("Wed")), (3, _("Thu")), (4, _("Fri")), (5, _("Sat")), (6, _("Sun"))]  # fmt: skip


class Lease(models.Model):
    """A machine's end date. Each step of its end is noted when it is done, so that it is done once."""

    machine = models.OneToOneField("machines.Machine", on_delete=models.CASCADE, related_name="lease")
    ends_on = models.DateField(help_text="the last day on which it may run, in UTC")
    granted_until = models.DateField(
        null=True,
        help_text="what was approved, or set by an administrator; empty: who manages it sets what they like",
    )
    extended = models.PositiveSmallIntegerField(default=0, help_text="how often")
    reminded_days = models.PositiveSmallIntegerField(
        null=True, help_text="the last reminder: that many days before the end"
    )
    ended_at = models.DateTimeField(null=True)
    off_asked_at = models.DateTimeField(null=True)
    off_forced_at = models.DateTimeField(null=True)
    warned_at = models.DateTimeField(null=True, help_text="that it is about to be deleted")
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["ends_on"], name="leases_by_their_end")]

    def __str__(self) -> str:
        return f"{self.machine_id} until {self.ends_on}"


class Schedule(models.Model):
    """On these days the machine is started at one hour and shut down at another, in UTC."""

    machine = models.OneToOneField("machines.Machine", on_delete=models.CASCADE, related_name="schedule")
    weekdays = models.CharField(max_length=7, help_text="digits, 0 is Monday")
    from_hour = models.PositiveSmallIntegerField(validators=[MaxValueValidator(23)])
    to_hour = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(24)])
    done_until = models.DateTimeField(help_text="earlier hours are done with")

    def __str__(self) -> str:
        return f"{self.machine_id} {self.weekdays} {self.from_hour}–{self.to_hour}"


class Idle(models.Model):
    """A machine that was found idle, and who was told. It goes as soon as the machine does something."""

    machine = models.OneToOneField("machines.Machine", on_delete=models.CASCADE, related_name="idle")
    found_at = models.DateTimeField()
    administrators_told_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.machine_id} since {self.found_at}"


class LeaseRules(models.Model):
    """The rules of end dates; the only row. Where there is none, the columns' defaults count."""

    ONLY = 1

    extend_days = models.PositiveSmallIntegerField(
        default=30, validators=[MinValueValidator(1), MaxValueValidator(365)]
    )
    extensions = models.PositiveSmallIntegerField(default=2, validators=[MaxValueValidator(100)])
    grace_days = models.PositiveSmallIntegerField(
        default=14, validators=[MinValueValidator(1), MaxValueValidator(365)]
    )
    first_reminder_days = models.PositiveSmallIntegerField(
        default=7, validators=[MinValueValidator(1), MaxValueValidator(90)]
    )
    last_reminder_days = models.PositiveSmallIntegerField(default=1, validators=[MaxValueValidator(90)])
    idle_days = models.PositiveSmallIntegerField(
        default=7, validators=[MinValueValidator(1), MaxValueValidator(28)]
    )

    class Meta:
        verbose_name_plural = "lease rules"

    def __str__(self) -> str:
        return "lease rules"
