"""Reading notices; a person sees their own."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import QuerySet

from portal.accounts.models import User
from portal.notices.kinds import KINDS, NoticeKind, Way, kinds_for
from portal.notices.models import Choice, Notice
from portal.rights.levels import Level


@dataclass(frozen=True)
class Chosen:
    """A kind with the way that a person chose for it."""

    kind: NoticeKind
    way: Way


def notices_of(person: User) -> QuerySet[Notice]:
    """Newest first."""
    return Notice.objects.filter(person=person).order_by("-id")


def unread_count(person: User) -> int:
    """For the bell. One query, over an index of the unread alone."""
    return Notice.objects.filter(person=person, read_at=None).count()


def choices_of(person: User) -> list[Chosen]:
    """Every kind that they may get. One query."""
    chosen = dict(Choice.objects.filter(person=person).values_list("kind", "way"))
    return [
        Chosen(kind, Way(chosen.get(kind.key, kind.default)))
        for kind in kinds_for(administrator=person.is_administrator)
    ]


def icon_of(kind: str) -> str:
    """The icon of a kind; a bell for one that this version does not know."""
    return KINDS[kind].icon if kind in KINDS else "bell"


def notice_level(user: User, notice_id: int) -> Level | None:
    """It is there for whom it was written alone. One query."""
    return Level.OWN if Notice.objects.filter(pk=notice_id, person=user).exists() else None
