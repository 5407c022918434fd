"""Reading offers: for the person to whom a machine is offered, and for nobody else."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404

from portal.accounts.models import User
from portal.rights.levels import Level
from portal.rights.models import Offer


def offers_to(user: User) -> QuerySet[Offer]:
    """What is offered to the person, the oldest first."""
    return Offer.objects.filter(to=user).select_related("machine", "by").order_by("made_at")


def offer_to(user: User, offer_id: UUID) -> Offer:
    """The offer. Raises Http404 where it is not this person's, or over."""
    offer = offers_to(user).filter(pk=offer_id).first()
    if offer is None:
        raise Http404
    return offer


def offer_level(user: User, offer_id: UUID) -> Level | None:
    """OWN for the one to whom it is made. One query."""
    found = offers_to(user).filter(pk=offer_id).exists()
    return Level.OWN if found and not user.only_reads else None
