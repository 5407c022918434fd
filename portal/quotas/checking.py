"""What stands in the way of having something at once: asked before a form is carried out, and shown to who approves."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.flavours.models import Flavour
from portal.flavours.selectors import flavours_offered, is_to_be_asked_for
from portal.quotas.account import Account
from portal.quotas.amounts import Amounts
from portal.quotas.hold import over_in
from portal.quotas.limits import limits_of
from portal.quotas.models import NetworkToAskFor
from portal.quotas.usage import used_by


def obstacles(
    account: Account,
    by: User,
    takes: Amounts,
    *,
    networks: Iterable[UUID] = (),
    flavours: Iterable[Flavour] | None = None,
    size: tuple[int, int] | None = None,
) -> list[str]:
    """Why what takes this has to be asked for, in sentences; nothing where it is to be had at once.

    `size`: processors and memory of the whole machine, where that is another than what comes to it.
    """
    found: list[str] = []
    if not by.is_administrator:
        offered = flavours_offered() if flavours is None else flavours
        cpus, memory_mib = size or (takes.cpus, takes.memory_mib)
        if (cpus or memory_mib) and is_to_be_asked_for(offered, cpus=cpus, memory_mib=memory_mib):
            found.append(_("A machine of that size needs an approval."))
        names = NetworkToAskFor.objects.filter(network__in=list(networks)).values_list(
            "network__name", flat=True
        )
        found += [_("The network “%(name)s” needs an approval.") % {"name": name} for name in names]
    limits = limits_of(account)
    if not limits.are_none:
        after = used_by(account).plus(takes)
        found += [over.words for over in over_in(after, limits, takes.more_than(Amounts()))]
    return found
