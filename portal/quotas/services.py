"""What an administrator decides: quotas, and which networks have to be asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import date
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.audit.actions import Action, ObjectKind
from portal.audit.services import of_person, record
from portal.networks.models import Network
from portal.quotas.amounts import Limits
from portal.quotas.models import NetworkToAskFor, Quota, Raise, Whose
from portal.refusal import Refused
from portal.teams.models import Team


def quota_set(*, of: User | Team | Whose, limits: Limits, by: User | None = None) -> None:
    """A quota of the person's or the team's own; or what counts for all of them that have none."""
    key: dict[str, Any]
    with transaction.atomic():
        match of:
            case User():
                key, whose, about = {"user": of}, Whose.PERSON, of_person(of)
            case Team():
                key, whose, about = {"team": of}, Whose.TEAM, (ObjectKind.TEAM, of.pk, of.name)
            case Whose():
                key, whose = {"whose": of, "user": None, "team": None}, of
                about = (ObjectKind.SITE, "", str(of.label))
        Quota.objects.update_or_create(**key, defaults={"whose": whose, **asdict(limits)})
        record(Action.QUOTA_SET, by=by, about=about, details=asdict(limits))


def quota_raise(*, user: User, limits: Limits, ends_on: date, by: User | None = None) -> None:
    """Larger limits to the end of a day; the quota behind them stays as it is. Raises Refused where that day has passed."""
    if ends_on < timezone.now().date():
        raise Refused(_("That day has passed. Nothing was changed."))
    with transaction.atomic():
        Raise.objects.create(user=user, ends_on=ends_on, **asdict(limits))
        details = asdict(limits) | {"until": ends_on.isoformat()}
        record(Action.QUOTA_SET, by=by, about=of_person(user), details=details)


def quota_raise_end(*, raised: Raise, by: User) -> None:
    """The quota behind it counts again from now on."""
    with transaction.atomic():
        if Raise.objects.filter(pk=raised.pk).delete()[0]:
            about, until = of_person(raised.user), raised.ends_on.isoformat()
            record(Action.QUOTA_REMOVED, by=by, about=about, details={"until": until})


def quota_remove(*, quota: Quota, by: User | None = None) -> None:
    """That of all others counts again. Raises Refused for that one itself."""
    if quota.whose not in (Whose.PERSON, Whose.TEAM):
        raise Refused(_("That is the quota of all others. Change its numbers instead."))
    with transaction.atomic():
        if Quota.objects.filter(pk=quota.pk).delete()[0]:
            about = (
                (ObjectKind.TEAM, quota.team.pk, quota.team.name)
                if quota.team is not None
                else (ObjectKind.PERSON, quota.user_id, str(quota.user))
            )
            record(Action.QUOTA_REMOVED, by=by, about=about)


def networks_to_ask_for(*, networks: Iterable[UUID], by: User | None = None) -> None:
    """These networks need an approval, and no others; machines that are in them stay there."""
    wanted = set(Network.objects.filter(pk__in=list(networks)).values_list("pk", flat=True))
    with transaction.atomic():
        NetworkToAskFor.objects.exclude(network__in=wanted).delete()
        known = set(NetworkToAskFor.objects.values_list("network", flat=True))
        NetworkToAskFor.objects.bulk_create(
            (NetworkToAskFor(network_id=each) for each in wanted - known), ignore_conflicts=True
        )
        if wanted != known:
            names = sorted(Network.objects.filter(pk__in=wanted).values_list("name", flat=True))
            record(Action.RULES_CHANGED, by=by, details={"networks to ask for": names})
