"""Reading exports; whose they are, their machine says."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404

from portal.exports.models import Export
from portal.machines.models import Machine


def exports_of(machine: Machine) -> QuerySet[Export]:
    """Those that can be downloaded, the newest first."""
    return machine.exports.filter(is_ready=True)


def export_of(machine: Machine, export_id: UUID) -> Export:
    """The one that can be downloaded. Raises Http404."""
    export = exports_of(machine).filter(pk=export_id).first()
    if export is None:
        raise Http404
    return export
