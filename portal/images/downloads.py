"""Downloads from the catalogue into the library: begun by an administrator, paused, gone on with, checked before they count.

The row says what is wanted; whoever carries a download out looks at it every second, so that a pause or a cancellation
counts at once and a process that ended is taken over by the next one.
"""

from __future__ import annotations

import errno
import hashlib
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from io import FileIO
from pathlib import Path
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, connections, transaction
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.audit.actions import Action, ObjectKind, Result
from portal.audit.services import record
from portal.images import fetching, iso9660, parts, recognise, services
from portal.images.catalogue import Entry, entries, newest
from portal.images.fetching import Broken
from portal.images.models import Download, DownloadState, Image, ImageKind
from portal.live import publish
from portal.notices.services import tell
from portal.refusal import Refused

_AT_ONCE = 2
_MOST_BREAKS = 10
_WAITS_AFTER_A_BREAK = timedelta(seconds=5)
_TELLS_EVERY_SECONDS = 1.0
_GIB = 1024**3

log = structlog.get_logger()
_under_way: set[UUID] = set()
_lock = threading.Lock()


class Stopped(Exception):
    """It was paused or cancelled."""


def download_begin(*, key: str, by: User) -> Download:
    """Put a system of the catalogue on its way into the library. Raises Refused."""
    entry = entries().get(key)
    if entry is None:
        raise Refused(_("The catalogue has no such system."))
    try:
        with transaction.atomic():
            download = Download.objects.create(key=key, name=entry.name, requested_by=by)
            transaction.on_commit(publish.library_changed)
            record(Action.DOWNLOAD_BEGUN, by=by, about=_of(download))
    except IntegrityError as exc:
        raise Refused(_("That is on its way already.")) from exc
    log.info("download begun", download=str(download.pk), key=key, by=by.pk)
    return download


def download_pause(*, download: Download, by: User) -> None:
    """Stop for now; what has arrived is kept. Raises Refused."""
    _move(download, DownloadState.PAUSED, since=(DownloadState.RUNNING,), by=by)


def download_go_on(*, download: Download, by: User) -> None:
    """Go on where it stopped. Raises Refused."""
    _move(download, DownloadState.RUNNING, since=(DownloadState.PAUSED, DownloadState.FAILED), by=by)


def download_cancel(*, download: Download, by: User) -> None:
    """Drop it and all that has arrived. Raises Refused."""
    # The row first: who still writes to the file finds the row gone, and removes what it wrote.
    with transaction.atomic():
        Download.objects.filter(pk=download.pk).delete()
        record(Action.DOWNLOAD_CHANGED, by=by, about=_of(download), details={"what": "cancelled"})
    download.path.unlink(missing_ok=True)
    publish.library_changed()


def go_on(start: Callable[[UUID], None] | None = None) -> list[UUID]:
    """Carry out what is wanted and not under way here, a few at once, each in a thread of its own; which were begun."""
    begin = start or _in_a_thread
    begun = []
    quiet = timezone.now() - _WAITS_AFTER_A_BREAK
    waiting = Download.objects.filter(state=DownloadState.RUNNING).exclude(breaks__gt=0, touched_at__gt=quiet)
    for download_id in list(waiting.values_list("pk", flat=True)):
        with _lock:
            if download_id in _under_way or len(_under_way) >= _AT_ONCE:
                continue
            _under_way.add(download_id)
        begin(download_id)
        begun.append(download_id)
    return begun


def clear_leftovers() -> None:
    """Remove files of downloads whose rows are gone."""
    for path in Path(settings.UPLOAD_DIR).glob("*.download"):
        if not Download.objects.filter(pk=path.stem).exists():
            path.unlink(missing_ok=True)


def finished(download_id: UUID) -> None:
    """It is no longer carried out here."""
    with _lock:
        _under_way.discard(download_id)


def carry_out(download_id: UUID) -> Image | None:
    """Fetch, check and shelve; the image, None where it was stopped, broke, or somebody else does it."""
    download = Download.objects.filter(pk=download_id, state=DownloadState.RUNNING).first()
    if download is None:
        return None
    words = log.bind(download=str(download_id), key=download.key)
    if Image.objects.filter(pk=download_id).exists():  # what did it ended between the two rows
        download.delete()
        return None
    try:
        with parts.locked(download.path) as file:
            image = _carry_out(download, file)
        words.info("download done", image=str(image.pk))
        return image
    except parts.Busy:
        return None
    except Stopped:
        words.info("download stopped")
        if not Download.objects.filter(pk=download_id).exists():
            download.path.unlink(missing_ok=True)
    except Broken as exc:
        words.info("download broke", why=str(exc))
        _broke(download, str(exc))
    except Refused as refusal:
        words.warning("download refused", why=refusal.message)
        _end(download, refusal.message)
    except OSError as exc:
        words.warning("download not kept", error=str(exc))
        full = exc.errno in (errno.ENOSPC, errno.EDQUOT)
        _end(download, _("The server's disk is full. What has arrived is kept.") if full else str(exc))
    return None


def _carry_out(download: Download, file: FileIO) -> Image:
    entry = entries().get(download.key)
    if entry is None:
        raise Refused(_("The catalogue has no such system any more."))
    if not download.digest:
        download.file_name, download.digest = newest(entry, fetching.text(entry.sums_address))
        _note(download, file_name=download.file_name, digest=download.digest)
    if not download.size_bytes or file.seek(0, 2) < download.size_bytes:
        _fetch(download, entry, file)
    file.seek(0)
    found = hashlib.file_digest(file, entry.algorithm).hexdigest()
    if found != download.digest:
        _forget_content(download, file)
        words = _(
            "What arrived is not what its makers publish (checksum %(found)s…, published %(wanted)s…). "
            "It was thrown away; go on to fetch it anew."
        )
        raise Refused(words % {"found": found[:12], "wanted": download.digest[:12]})
    return _shelve(download, entry, file)


def _fetch(download: Download, entry: Entry, file: FileIO) -> None:
    """The rest of the file, safe on the disk. Raises Broken, Refused, Stopped or OSError."""
    most = min(entry.most_gib * _GIB, settings.UPLOAD_LARGEST_BYTES)
    have = min(file.seek(0, 2), download.offset_bytes)
    file.truncate(have)
    with fetching.body(
        entry.address_of(download.file_name), start=have, validator=download.validator
    ) as body:
        if body.start != have or (download.size_bytes and have and body.total != download.size_bytes):
            have = 0
            file.truncate(0)
            if body.start:
                raise Broken("another file lies there by now")
        if body.total is not None and body.total > most:
            _refuse_size(body.total, most)
        services.require_room(Path(settings.UPLOAD_DIR), (body.total or most) - have)
        _note(download, size_bytes=body.total or 0, offset_bytes=have, validator=body.validator)
        end = body.total if body.total is not None else most
        told = time.monotonic()
        file.seek(have)
        for block in body.blocks:
            have += len(block)
            if have > end:
                _forget_content(download, file)
                _refuse_size(have, end)
            parts.write(file, block)
            if time.monotonic() - told >= _TELLS_EVERY_SECONDS:
                told = time.monotonic()
                _note(download, offset_bytes=have, breaks=0)
                publish.library_changed()
        file.flush()
        if body.total is not None and have < body.total:
            raise Broken("the transfer ended early")
        _note(download, size_bytes=have, offset_bytes=have, breaks=0)


def _refuse_size(size: int, most: int) -> None:
    words = _("The server sends %(size)s or more, and at most %(most)s were expected. It was cut off.")
    raise Refused(words % {"size": filesizeformat(size), "most": filesizeformat(most)})


def _shelve(download: Download, entry: Entry, file: FileIO) -> Image:
    """Into the library, as what its makers say that it is."""
    size = file.seek(0, 2)
    try:
        found = recognise.recognise(file, size=size, name=download.file_name)
    except (recognise.NotAnImage, iso9660.NotAnIso):
        _forget_content(download, file)
        raise
    if found.kind != ImageKind(entry.kind):
        _forget_content(download, file)
        raise Refused(_("What arrived is something else than the catalogue says. It was thrown away."))
    image = services.image_shelve(
        image_id=download.pk,
        part=download.path,
        name=entry.name,
        found=found,
        size_bytes=size,
        sha256=parts.sha256(file),
        added_by=download.requested_by,
        system=entry.system,
        version=entry.version,
        is_cloud=entry.is_cloud,
    )
    with transaction.atomic():
        Download.objects.filter(pk=download.pk).delete()
        _over(download, Result.DONE, "download_done")
    publish.library_changed()
    return image


def _over(download: Download, result: Result, kind: str, *, why: str = "") -> None:
    by = download.requested_by
    record(Action.DOWNLOAD_ENDED, by=by, about=_of(download), result=result, details={"why": why})
    tell([by] if by else [], kind, link="/discs/", name=download.name, why=why)


def _of(download: Download) -> tuple[ObjectKind, object, str]:
    return (ObjectKind.IMAGE, download.pk, download.name)


def _forget_content(download: Download, file: FileIO) -> None:
    """Nothing of it is of use: the next try asks for the list of sums again."""
    file.truncate(0)
    _note(download, offset_bytes=0, size_bytes=0, digest="", file_name="", validator="")


def _note(download: Download, **changes: object) -> None:
    """Write down how far it is, and go on only where that is still wanted. Raises Stopped."""
    for field, value in changes.items():
        setattr(download, field, value)
    running = Download.objects.filter(pk=download.pk, state=DownloadState.RUNNING)
    if not running.update(**changes, touched_at=timezone.now()):
        raise Stopped


def _broke(download: Download, detail: str) -> None:
    have = download.path.stat().st_size if download.path.exists() else 0
    came_on = have > download.offset_bytes
    breaks = 1 if came_on else download.breaks + 1
    if breaks > _MOST_BREAKS:
        words = _("The connection broke again and again (%(why)s). What has arrived is kept: go on later.")
        _end(download, words % {"why": detail[:200]})
        return
    Download.objects.filter(pk=download.pk, state=DownloadState.RUNNING).update(
        breaks=breaks, offset_bytes=have, problem=detail[:200], touched_at=timezone.now()
    )
    publish.library_changed()


def _end(download: Download, problem: str) -> None:
    running = Download.objects.filter(pk=download.pk, state=DownloadState.RUNNING)
    with transaction.atomic():
        if running.update(state=DownloadState.FAILED, problem=problem, breaks=0, touched_at=timezone.now()):
            _over(download, Result.FAILED, "download_failed", why=problem)
    publish.library_changed()


def _move(download: Download, state: DownloadState, *, since: tuple[DownloadState, ...], by: User) -> None:
    with transaction.atomic():
        moved = Download.objects.filter(pk=download.pk, state__in=since).update(
            state=state, problem="", breaks=0, touched_at=timezone.now()
        )
        if not moved:
            raise Refused(_("It is not so far, or over already."))
        record(Action.DOWNLOAD_CHANGED, by=by, about=_of(download), details={"what": state.value})
    publish.library_changed()


def _in_a_thread(download_id: UUID) -> None:
    """Not in a thread of the worker's own: those take the hosts' reports, and a download takes long."""

    def run() -> None:
        try:
            carry_out(download_id)
        except Exception:
            log.exception("download ended", download=str(download_id))
        finally:
            finished(download_id)
            connections.close_all()

    threading.Thread(target=run, name=f"download {download_id}", daemon=True).start()
