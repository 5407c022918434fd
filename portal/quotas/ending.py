"""What was approved for a time: said before it ends, and when it is over. The clock alone ends it (limits.py, usage.py).

Each step is a conditional update or deletion in the transaction of its notice, so that it is said once.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.machines.people import people_of
from portal.notices.services import tell
from portal.quotas.models import Grant, Raise

SOON = timedelta(days=3)


def quotas_end() -> None:
    """Say what is due, of larger quotas and of what was approved for machines."""
    for raised in Raise.objects.filter(ends_on__lte=_today() + SOON).select_related("user"):
        _step(raised, [raised.user], _("your larger quota"), "/requests/")
    for grant in Grant.objects.filter(ends_on__lte=_today() + SOON).select_related("machine__owner"):
        machine = grant.machine
        what = _("what was approved for “%(name)s”") % {"name": machine.name}
        _step(grant, people_of(machine), what, f"/machines/{machine.pk}/hardware/")


def _step(row: Raise | Grant, people: Iterable[User], what: str, link: str) -> None:
    if row.ends_on is None:
        return
    same = type(row).objects.filter(pk=row.pk, ends_on=row.ends_on)
    day = row.ends_on.isoformat()
    with transaction.atomic():
        if row.ends_on < _today():
            if same.delete()[0]:
                tell(people, "quota_over", link=link, what=what, day=day)
        elif same.filter(reminded=False).update(reminded=True):
            tell(people, "quota_ends", link=link, what=what, day=day)


def _today() -> date:
    return timezone.now().date()
