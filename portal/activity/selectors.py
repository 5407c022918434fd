"""Reading operations."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db.models import OuterRef, Subquery

from portal.activity.models import Operation


def newest_operations(machine_ids: Iterable[UUID]) -> dict[UUID, Operation]:
    """Kind and state of the newest operation of each machine, by the machine's id. One query."""
    newest = Operation.objects.filter(machine=OuterRef("machine")).order_by("-created_at", "-generation")
    rows = Operation.objects.filter(machine__in=list(machine_ids), pk=Subquery(newest.values("pk")[:1]))
    rows = rows.only("machine", "kind", "state")
    return {row.machine_id: row for row in rows if row.machine_id is not None}


def history_of(machine_id: UUID, *, most: int = 20) -> list[Operation]:
    """The last operations of a machine, newest first. One query."""
    rows = Operation.objects.filter(machine=machine_id).select_related("requested_by")
    return list(rows.order_by("-created_at", "-generation")[:most])
