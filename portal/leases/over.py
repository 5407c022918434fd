"""Whether a machine's time is over: asked before anything starts it (machines/asking.py)."""

from __future__ import annotations

from uuid import UUID

from django.utils import timezone
from django.utils.translation import gettext as _

from portal.leases.models import Lease
from portal.refusal import Refused


def refuse_when_over(machine_id: UUID) -> None:
    """Raises Refused where the machine's end date has passed. One query."""
    if Lease.objects.filter(machine=machine_id, ends_on__lt=timezone.now().date()).exists():
        words = _(
            "The machine's time is over, so it was not started. Extend it on its page, under “End date”, or ask an administrator."
        )
        raise Refused(words)
