"""The rules of asking: what an administrator has set, and what counts until then."""

from __future__ import annotations

from portal.requests.models import Rules


def rules_now() -> Rules:
    """The only row, or the defaults. One query."""
    return Rules.objects.filter(pk=Rules.ONLY).first() or Rules(pk=Rules.ONLY)


def rules_set(*, approve_own: bool, days: int) -> None:
    """Other rules; what waits already keeps the day on which it expires."""
    Rules.objects.update_or_create(pk=Rules.ONLY, defaults={"approve_own": approve_own, "days": days})
