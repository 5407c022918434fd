"""People. `is_staff` makes an administrator of the site."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    """A person. A model of our own from the first day, since it cannot be exchanged later."""

    @property
    def is_administrator(self) -> bool:
        """May see the hosts, the library's upkeep and everybody's machines."""
        return self.is_active and self.is_staff
