"""The last picture of each machine's screen."""

from __future__ import annotations

from django.db import models


class Screen(models.Model):
    """`asked_at` and `taken_at` are Unix seconds, 0 for never."""

    machine = models.OneToOneField("machines.Machine", on_delete=models.CASCADE, related_name="screen")
    asked_at = models.BigIntegerField(default=0)
    taken_at = models.BigIntegerField(default=0)
    png = models.BinaryField(default=bytes)

    def __str__(self) -> str:
        return f"screen of {self.machine_id}"
