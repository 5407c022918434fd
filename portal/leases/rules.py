"""The rules of end dates: what an administrator has set, and what counts until then."""

from __future__ import annotations

from portal.accounts.models import User
from portal.audit.actions import Action, ObjectKind
from portal.audit.services import record
from portal.leases.models import LeaseRules


def lease_rules_now() -> LeaseRules:
    """The only row, or the defaults. One query."""
    return LeaseRules.objects.filter(pk=LeaseRules.ONLY).first() or LeaseRules(pk=LeaseRules.ONLY)


def lease_rules_set(*, by: User, values: dict[str, int]) -> None:
    """Other rules, in the caller's transaction; they count for every machine from the next look on."""
    LeaseRules.objects.update_or_create(pk=LeaseRules.ONLY, defaults=values)
    record(Action.LEASE_RULES, by=by, about=(ObjectKind.SITE, "", ""), details=values)
