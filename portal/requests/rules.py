"""The rules of asking: what an administrator has set, and what counts until then."""

from __future__ import annotations

from django.db import transaction

from portal.accounts.models import User
from portal.audit.actions import Action
from portal.audit.services import record
from portal.requests.models import Rules


def rules_now() -> Rules:
    """The only row, or the defaults. One query."""
    return Rules.objects.filter(pk=Rules.ONLY).first() or Rules(pk=Rules.ONLY)


def rules_set(*, approve_own: bool, days: int, by: User | None = None) -> None:
    """Other rules; what waits already keeps the day on which it expires."""
    wanted = {"approve_own": approve_own, "days": days}
    with transaction.atomic():
        Rules.objects.update_or_create(pk=Rules.ONLY, defaults=wanted)
        record(Action.RULES_CHANGED, by=by, details=wanted)
