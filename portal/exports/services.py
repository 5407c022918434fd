"""What happens to exports: asked for, received piece by piece, kept for some days, removed."""

from __future__ import annotations

import hashlib
import re
import shutil
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import OPEN_STATES, Kind, Operation
from portal.audit.actions import Action
from portal.audit.services import of_machine, record
from portal.exports.models import Export, Format
from portal.images import parts
from portal.live import publish
from portal.machines.asking import change, off, refuse_while_copied
from portal.machines.models import Machine
from portal.refusal import Refused
from workers.contract.acts import ExportMachine
from workers.contract.jobs import ExportFacts
from workers.contract.messages import OperationState, Progress

KEPT = timedelta(days=7)
_FORGOTTEN = timedelta(minutes=2)
_ROOM_LEFT_BYTES = 512 * 1024 * 1024
"""The database and the logs lie on the same disk."""

log = structlog.get_logger()


class WrongOffset(Exception):
    """The piece does not join on to what has arrived, which is `offset` bytes."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


class Broken(Exception):
    """The piece is not what was sent; nothing of it was kept."""


class NoRoom(Exception):
    """The site's disk has not enough room for it."""


def export_begin(*, machine: Machine, kind: str, by: User) -> Operation:
    """Have a machine that is off written as a file. Raises Refused."""
    with transaction.atomic():
        row = off(machine)
        refuse_while_copied(row)
        count = row.disks.count()
        if not count:
            raise Refused(_("The machine has no disk, so there is nothing to export."))
        if row.exports.filter(is_ready=True).count() >= 5:
            raise Refused(_("There are five exports of this machine already. Remove one first."))
        ending = "ova" if kind == Format.OVA else "qcow2" if count == 1 else "tar"
        export = Export.objects.create(machine=row, format=kind, file_name=f"{_plain(row.name)}.{ending}")
        act = ExportMachine(export_id=export.pk, format="ova" if kind == Format.OVA else "qcow2")
        return change(row, Kind.EXPORT, by, act=act, about=export.pk)


def export_remove(*, export: Export, by: User) -> None:
    """Remove a file before its time. Raises Refused while it is being made."""
    if not export.is_ready:
        raise Refused(_("The export is still being made. Cancel it instead."))
    with transaction.atomic():
        record(
            Action.EXPORT_REMOVED, by=by, about=of_machine(export.machine), details={"file": export.file_name}
        )
        _remove(export)


def export_downloaded(*, export: Export, by: User) -> None:
    """Somebody takes a copy of the machine away: noted once a download, not once a piece."""
    record(
        Action.EXPORT_DOWNLOADED, by=by, about=of_machine(export.machine), details={"file": export.file_name}
    )


def room_bytes() -> int:
    """What is free for exports, in bytes."""
    folder = Path(settings.EXPORT_DIR)
    parts.make_folder(folder)
    return max(0, shutil.disk_usage(folder).free - _ROOM_LEFT_BYTES)


def piece_take(*, export_id: UUID, offset: int, length: int, sha256: str, body: parts.Readable) -> int:
    """Add the next piece of a file that will have `length` bytes; how many have arrived then.

    Raises Export.DoesNotExist where nobody waits for it (any more), WrongOffset, Broken, NoRoom, parts.Busy, parts.TooMuch.
    """
    export = Export.objects.get(pk=export_id, is_ready=False)
    with parts.locked(export.path) as file:
        try:
            export = Export.objects.get(pk=export_id, is_ready=False)  # as it is now that nobody else writes
        except Export.DoesNotExist:
            export.path.unlink(missing_ok=True)
            raise
        have = export.received_bytes
        if offset != have or offset > length:
            raise WrongOffset(have)
        if length - have > room_bytes():
            raise NoRoom
        most = min(settings.UPLOAD_CHUNK_BYTES, length - have)
        end = have + parts.append(file, _Compared(body, sha256), at=have, most=most)
        if not Export.objects.filter(pk=export_id, is_ready=False).update(received_bytes=end):
            export.path.unlink(missing_ok=True)
            raise Export.DoesNotExist
        return end


def settle_export(operation: Operation, progress: Progress) -> None:
    """The file is here, whole; or it will not come."""
    export = Export.objects.filter(pk__in=[operation.about], is_ready=False).first()
    if export is None:
        return
    facts = progress.facts
    if (
        progress.state is OperationState.DONE
        and isinstance(facts, ExportFacts)
        and facts.size_bytes == export.received_bytes
    ):
        Export.objects.filter(pk=export.pk).update(
            is_ready=True,
            size_bytes=facts.size_bytes,
            sha256=facts.sha256,
            expires_at=timezone.now() + KEPT,
        )
    else:
        log.info("no export", export=str(export.pk), state=progress.state.value)
        _remove(export)


def clear_exports() -> int:
    """Remove what is too old, what nobody waits for any more, and files without a row; how many."""
    now = timezone.now()
    asked = Operation.objects.filter(kind=Kind.EXPORT, state__in=OPEN_STATES).values("about")
    left = Export.objects.filter(is_ready=False, asked_at__lt=now - _FORGOTTEN).exclude(pk__in=asked)
    removed = 0
    for export in (*Export.objects.filter(expires_at__lt=now), *left):
        _remove(export)
        removed += 1
    known = {str(pk) for pk in Export.objects.values_list("pk", flat=True)}
    folder = Path(settings.EXPORT_DIR)
    for path in folder.iterdir() if folder.exists() else ():
        if path.name not in known:
            path.unlink(missing_ok=True)
            removed += 1
    return removed


class _Compared:
    """A piece that is compared with its sum before its last byte is believed."""

    def __init__(self, source: parts.Readable, sha256: str) -> None:
        self._source, self._wanted = source, sha256
        self._digest = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        block = self._source.read(size)
        self._digest.update(block)
        if not block and self._digest.hexdigest() != self._wanted:
            raise Broken
        return block


def _remove(export: Export) -> None:
    path, machine_id = export.path, export.machine_id
    with transaction.atomic():
        export.delete()
        transaction.on_commit(lambda: path.unlink(missing_ok=True))
        transaction.on_commit(lambda: publish.machine_changed(machine_id))


def _plain(name: str) -> str:
    """The machine's name as every system takes it in a file's name."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:60] or "machine"
