"""Reading lines: whose, of what, filtered; always scoped to who asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from urllib.parse import urlencode

from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_date

from portal.accounts.models import User
from portal.audit.actions import ObjectKind, Result
from portal.audit.models import Append, Entry
from portal.machines.models import Machine

_LONGEST = 150


@dataclass(frozen=True)
class Filter:
    """What a person looks for; empty where it is of no matter."""

    who: str = ""
    action: str = ""
    kind: str = ""
    what: str = ""
    first: date | None = None
    last: date | None = None
    result: str = ""

    @property
    def is_set(self) -> bool:
        """Something is left out."""
        return self != Filter()

    @property
    def query(self) -> str:
        """For an address."""
        said = {
            "who": self.who, "action": self.action, "kind": self.kind, "what": self.what,
            "from": self.first.isoformat() if self.first else "",
            "to": self.last.isoformat() if self.last else "", "result": self.result,
        }  # fmt: skip
        return urlencode({key: value for key, value in said.items() if value})


def filter_of(said: Mapping[str, str]) -> Filter:
    """From an address; what makes no sense is passed over."""

    def text(key: str) -> str:
        return said.get(key, "").replace("\x00", "").strip()[:_LONGEST]

    kind, result = text("kind"), text("result")
    return Filter(
        who=text("who"),
        action=text("action"),
        kind=kind if kind in ObjectKind.values else "",
        what=text("what"),
        first=_date(text("from")),
        last=_date(text("to")),
        result=result if result in Result.values else "",
    )


def entries(wanted: Filter, *, person: User | None = None, machine: Machine | None = None) -> Append:
    """Lines, newest first: of the site, or of a person or a machine. The caller says who may ask for which."""
    rows = Entry.objects.order_by("-id")
    if person is not None:
        theirs = Q(actor_id=person.pk) | Q(acting_for_id=person.pk)
        rows = rows.filter(theirs | Q(object_kind=ObjectKind.PERSON, object_id=str(person.pk)))
    if machine is not None:
        rows = rows.filter(object_kind=ObjectKind.MACHINE, object_id=str(machine.pk))
    if wanted.who:
        rows = rows.filter(Q(actor_name__iexact=wanted.who) | Q(acting_for_name__iexact=wanted.who))
    if wanted.action:
        rows = rows.filter(action=wanted.action)
    if wanted.kind:
        rows = rows.filter(object_kind=wanted.kind)
    if wanted.what:
        rows = rows.filter(Q(object_name__icontains=wanted.what) | Q(object_id=wanted.what))
    if wanted.first:
        rows = rows.filter(at__gte=_midnight(wanted.first))
    if wanted.last:
        rows = rows.filter(at__lt=_midnight(wanted.last) + timedelta(days=1))
    if wanted.result:
        rows = rows.filter(result=wanted.result)
    return rows


def machines_still_there(rows: Iterable[Entry]) -> set[str]:
    """The ids of machines of these lines that can be linked to. One query."""
    named = {each.object_id for each in rows if each.object_kind == ObjectKind.MACHINE}
    return {str(pk) for pk in Machine.objects.filter(pk__in=named).values_list("pk", flat=True)}


def _date(raw: str) -> date | None:
    try:
        found = parse_date(raw)
    except ValueError:
        return None
    return found if found and 1970 < found.year < 9000 else None


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time()))
