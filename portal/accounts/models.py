"""People. `is_staff` makes an administrator of the site; who approves or audits only is marked beside it."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    """A person. A model of our own from the first day, since it cannot be exchanged later."""

    approves = models.BooleanField(default=False, help_text="decides what goes over the quota")
    audits = models.BooleanField(default=False, help_text="reads everything, changes nothing")

    @property
    def is_administrator(self) -> bool:
        """May see the hosts, the library's upkeep and everybody's machines."""
        return self.is_active and self.is_staff

    @property
    def is_approver(self) -> bool:
        """May say yes or no to what others ask for."""
        return self.is_active and (self.approves or self.is_staff)

    @property
    def is_auditor(self) -> bool:
        """May read everything that there is."""
        return self.is_active and (self.audits or self.is_staff)

    @property
    def only_reads(self) -> bool:
        """An auditor who is no administrator: sees everything, and changes nothing, their own machines neither."""
        return self.is_active and self.audits and not self.is_staff
