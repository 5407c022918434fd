"""Console tickets: one use, thirty seconds, kept as a hash only."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class ConsoleTicket(models.Model):
    """Lets one session of one person open one machine's screen once."""

    digest = models.CharField(max_length=64, primary_key=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    session_digest = models.CharField(max_length=64)
    machine = models.ForeignKey("machines.Machine", on_delete=models.CASCADE)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.user} on {self.machine}"
