"""A line as a page and a file show it. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from portal.activity.errors import words_for
from portal.audit.actions import ObjectKind, Result, words_for_action
from portal.audit.models import Entry


@dataclass(frozen=True)
class ShownEntry:
    """A line in words. `address` is empty for who may not see from where others come."""

    sequence: int | None
    at: datetime
    actor: str | Promise
    acting_for: str
    action: str | Promise
    object_kind: str | Promise
    object_name: str
    address: str
    result: str
    result_label: str | Promise
    why: str | Promise
    details: str
    machine_id: str
    """For a link; empty where it is no machine, or one that is gone."""


def shown(entry: Entry, *, sees_address: bool, machines: Collection[str]) -> ShownEntry:
    """A line in words; `machines` are the ids of those that are still there."""
    details = entry.details
    return ShownEntry(
        sequence=entry.sequence,
        at=entry.at,
        actor=entry.actor_name or _("nobody signed in" if entry.address else "the site"),
        acting_for=entry.acting_for_name,
        action=words_for_action(entry.action),
        object_kind=ObjectKind(entry.object_kind).label if entry.object_kind in ObjectKind.values else "",
        object_name=entry.object_name,
        address=entry.address if sees_address else "",
        result=entry.result,
        result_label=Result(entry.result).label if entry.result in Result.values else entry.result,
        why=words_for(details["error"]).sentence if details.get("error") else "",
        details="\n".join(
            f"{key}: {value}" for key, value in sorted(details.items()) if value not in ("", None)
        ),
        machine_id=entry.object_id if entry.object_id in machines else "",
    )
