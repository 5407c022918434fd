"""Figures in the database, packed (see packing.py): what came just now by host, what is older by machine, coarser with age."""

from __future__ import annotations

from django.db import models


class Fresh(models.Model):
    """One message of a host, as it came: one small write for all its machines. Rolled up after a minute."""

    host = models.ForeignKey("fleet.Host", on_delete=models.CASCADE, related_name="fresh_figures")
    at = models.BigIntegerField(help_text="Unix seconds, a multiple of five")
    packed = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["host", "at"], name="one_fresh_a_moment")]

    def __str__(self) -> str:
        return f"{self.host_id} at {self.at}"


class Stretch(models.Model):
    """A stretch of time of one subject: points `step` seconds apart from `start` on (Unix seconds)."""

    step = models.PositiveSmallIntegerField()
    start = models.BigIntegerField()
    packed = models.BinaryField()

    class Meta:
        abstract = True


class MachineStretch(Stretch):
    """Of a machine; goes with it."""

    machine = models.ForeignKey("machines.Machine", on_delete=models.CASCADE, related_name="figures")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["machine", "step", "start"], name="one_machine_stretch_a_time")
        ]
        indexes = [models.Index(fields=["step", "start"])]

    def __str__(self) -> str:
        return f"{self.machine_id} {self.step} s from {self.start}"


class HostStretch(Stretch):
    """Of a host as a whole. That it is there says that all of the host's machines have theirs."""

    host = models.ForeignKey("fleet.Host", on_delete=models.CASCADE, related_name="figures")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["host", "step", "start"], name="one_host_stretch_a_time")
        ]
        indexes = [models.Index(fields=["step", "start"])]

    def __str__(self) -> str:
        return f"{self.host_id} {self.step} s from {self.start}"
