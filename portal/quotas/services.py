"""What an administrator decides: quotas, and which networks have to be asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.networks.models import Network
from portal.quotas.amounts import Limits
from portal.quotas.models import NetworkToAskFor, Quota, Whose
from portal.refusal import Refused
from portal.teams.models import Team


def quota_of_all(*, whose: Whose, limits: Limits) -> None:
    """What counts for every person, or every team, that has no quota of its own."""
    Quota.objects.update_or_create(whose=whose, user=None, team=None, defaults=asdict(limits))


def quota_of_person(*, user: User, limits: Limits) -> None:
    """A quota of the person's own."""
    Quota.objects.update_or_create(user=user, defaults={"whose": Whose.PERSON, **asdict(limits)})


def quota_of_team(*, team: Team, limits: Limits) -> None:
    """A quota of the team's own."""
    Quota.objects.update_or_create(team=team, defaults={"whose": Whose.TEAM, **asdict(limits)})


def quota_remove(*, quota: Quota) -> None:
    """That of all others counts again. Raises Refused for that one itself."""
    if quota.whose not in (Whose.PERSON, Whose.TEAM):
        raise Refused(_("That is the quota of all others. Change its numbers instead."))
    Quota.objects.filter(pk=quota.pk).delete()


def networks_to_ask_for(*, networks: Iterable[UUID]) -> None:
    """These networks need an approval, and no others; machines that are in them stay there."""
    wanted = set(Network.objects.filter(pk__in=list(networks)).values_list("pk", flat=True))
    with transaction.atomic():
        NetworkToAskFor.objects.exclude(network__in=wanted).delete()
        known = set(NetworkToAskFor.objects.values_list("network", flat=True))
        NetworkToAskFor.objects.bulk_create(
            (NetworkToAskFor(network_id=each) for each in wanted - known), ignore_conflicts=True
        )
