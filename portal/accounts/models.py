"""People. `is_staff` makes an administrator of the site; who approves or audits only is marked beside it."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone

from portal.teams.models import Role


class User(AbstractUser):
    """A person. A model of our own from the first day, since it cannot be exchanged later."""

    approves = models.BooleanField(default=False, help_text="decides what goes over the quota")
    audits = models.BooleanField(default=False, help_text="reads everything, changes nothing")
    awaits_approval = models.BooleanField(default=False, help_text="registered, and not let in yet")

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


class Invitation(models.Model):
    """A link by which one person comes in, once; what is kept of it is its hash."""

    token_hash = models.CharField(max_length=64, unique=True)
    email = models.EmailField()
    name = models.CharField(
        max_length=150, blank=True, help_text="proposed to the person, who may choose another"
    )
    administrator = models.BooleanField(default=False)
    approves = models.BooleanField(default=False)
    audits = models.BooleanField(default=False)
    team = models.ForeignKey("teams.Team", null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    team_role = models.CharField(max_length=6, choices=Role.choices, default=Role.MEMBER)
    invited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="invitations"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    used_by = models.OneToOneField(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="invitation"
    )

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.email

    @property
    def is_expired(self) -> bool:
        """Its week is over."""
        return self.expires_at <= timezone.now()


class Registration(models.Model):
    """The one row that says whether people may register themselves."""

    is_open = models.BooleanField(default=False)

    def __str__(self) -> str:
        return "open" if self.is_open else "closed"
