"""What happens to the library: discs are added, by upload or from a folder, and deleted."""

from __future__ import annotations

import errno
import shutil
import stat
import unicodedata
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from io import FileIO
from pathlib import Path
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.audit.actions import Action, ObjectKind, Result
from portal.audit.services import record
from portal.fleet.models import Host
from portal.images import checking, iso9660, parts, recognise, selectors
from portal.images.models import Image, ImageKind, ImageState, Upload
from portal.images.recognise import without_ending
from portal.live import publish
from portal.machines import dispatch
from portal.refusal import Refused

UPLOAD_KEPT = timedelta(days=7)
"""An upload that nobody touched for so long is removed."""

_UPLOADS_A_PERSON = 20
_ROOM_LEFT_BYTES = 512 * 1024 * 1024
"""The database and the logs lie on the same disk: uploads never take the last of it."""

_LONGEST_NAME = 120
log = structlog.get_logger()


class OffsetConflict(Exception):
    """The bytes do not join on to what has arrived, which is `offset` bytes."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


class NoRoom(Refused):
    """The disk is full; what had arrived is kept."""


@dataclass(frozen=True)
class Arrived:
    """How much has arrived; with the last byte the disc is in the library."""

    offset: int
    image: Image | None = None


def upload_begin(*, owner: User, filename: str, length: int) -> Upload:
    """Announce a file of `length` bytes. Raises Refused where it is too large or there is no room."""
    if length <= 0:
        raise Refused(_("The file is empty."))
    largest = settings.UPLOAD_LARGEST_BYTES
    if length > largest:
        raise Refused(
            _("The file is too large: a disc has at most %(most)s.") % {"most": filesizeformat(largest)}
        )
    if Upload.objects.filter(owner=owner).count() >= _UPLOADS_A_PERSON:
        raise Refused(_("You have too many unfinished uploads. Go on with one of them, or cancel some."))
    parts.make_folder(settings.UPLOAD_DIR)
    require_room(settings.UPLOAD_DIR, length)
    return Upload.objects.create(owner=owner, name=name_of(filename), length_bytes=length)


def upload_append(*, owner: User, upload_id: UUID, offset: int, body: parts.Readable) -> Arrived:
    """Add the next bytes, which are safe on the disk afterwards; the last of them finish the upload.

    Raises Upload.DoesNotExist where the person has no such upload (any more), OffsetConflict, parts.Busy, parts.TooMuch, and
    Refused where the file turns out not to be a disc, which removes the upload and all that had arrived.
    """
    upload = Upload.objects.get(pk=upload_id, owner=owner)
    with parts.locked(upload.path) as file:
        try:
            upload = Upload.objects.get(pk=upload_id)  # as it is now that nobody else writes
            start = _join(upload, file)
            if offset != start:
                raise OffsetConflict(start)
            most = min(settings.UPLOAD_CHUNK_BYTES, upload.length_bytes - start)
            end = start + parts.append(file, body, at=start, most=most)
            if start < recognise.HEADER_BYTES <= end:
                recognise.first_look(file, size=upload.length_bytes, name=upload.name)
            if end == upload.length_bytes:
                return Arrived(end, _finish(upload, file))
            _advance(upload, end)
            return Arrived(end)
        except Upload.DoesNotExist:  # cancelled meanwhile
            upload.path.unlink(missing_ok=True)
            raise
        except (iso9660.NotAnIso, recognise.NotAnImage) as refusal:
            log.info("upload refused", upload=str(upload_id), name=upload.name, why=refusal.message)
            about = (ObjectKind.IMAGE, upload_id, upload.name)
            record(
                Action.UPLOAD_REFUSED,
                by=owner,
                about=about,
                result=Result.REFUSED,
                details={"why": refusal.message},
            )
            _remove(upload)
            raise
        except OSError as exc:
            if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            log.warning("no room for an upload", upload=str(upload_id))
            raise NoRoom(
                _("The server's disk is full. What has arrived is kept: ask your administrator to make room.")
            ) from exc


def upload_cancel(*, owner: User, upload_id: UUID) -> None:
    """Drop an upload and all that has arrived. Raises Upload.DoesNotExist."""
    _remove(Upload.objects.get(pk=upload_id, owner=owner))


def clear_expired_uploads() -> int:
    """Remove uploads that nobody touched for UPLOAD_KEPT, and files that a crash left without a row; how many."""
    limit = timezone.now() - UPLOAD_KEPT
    removed = 0
    for upload in Upload.objects.filter(touched_at__lt=limit):
        if Upload.objects.filter(pk=upload.pk, touched_at__lt=limit).delete()[0]:
            upload.path.unlink(missing_ok=True)
            removed += 1
    for path in Path(settings.UPLOAD_DIR).glob("*.part"):
        if path.stat().st_mtime < limit.timestamp() and not Upload.objects.filter(pk=path.stem).exists():
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def image_add_file(
    *,
    path: Path,
    name: str | None = None,
    added_by: User | None = None,
    told: Callable[[int], None] | None = None,
) -> Image:
    """Copy a file of this machine into the library. `told` hears how many bytes are copied.

    Raises Refused where it is not a disc or there is no room, OSError where it cannot be read.
    """
    image_id = uuid.uuid4()
    with path.open("rb") as source:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise Refused(_("This is not a file."))
        recognise.recognise(source, size=found.st_size, name=path.name)
        part = Path(settings.UPLOAD_DIR) / f"{image_id}.part"
        parts.make_folder(part.parent)
        require_room(part.parent, found.st_size)
        try:
            with parts.locked(part) as target:
                digest = parts.copy(source, target, told=told)
                size = target.tell()
                # Once more on the copy: somebody may have written to the file meanwhile.
                facts = recognise.recognise(target, size=size, name=path.name)
            parts.give_to_owner_of(part.parent, part)
            image = Image(
                id=image_id,
                name=name_of(name) if name else without_ending(name_of(path.name)),
                **_as(facts),
                size_bytes=size,
                sha256=digest,
                added_by=added_by,
            )
            return _shelve(image, part)
        finally:
            part.unlink(missing_ok=True)


def image_shelve(
    *,
    image_id: UUID,
    part: Path,
    name: str,
    found: recognise.Recognised,
    size_bytes: int,
    sha256: str,
    added_by: User | None,
    **said: object,
) -> Image:
    """Put a whole file, recognised and summed up, into the library under a name that is free; `said` are fields of its row."""
    image = Image(
        id=image_id, name=name, size_bytes=size_bytes, sha256=sha256, added_by=added_by, **_as(found), **said
    )
    return _shelve(image, part)


def image_delete(*, image: Image, by: User) -> None:
    """Drop a disc from the library and from every host. Raises Refused while a machine has it in its drive."""
    image_id, path = image.pk, image.path
    try:
        with transaction.atomic():
            record(Action.IMAGE_DELETED, by=by, about=of_image(image))
            image.delete()
            hosts = list(Host.objects.values_list("name", flat=True))
            transaction.on_commit(lambda: path.unlink(missing_ok=True))
            transaction.on_commit(lambda: dispatch.forget_image(image_id, hosts))
            transaction.on_commit(publish.library_changed)
    except (ProtectedError, IntegrityError) as exc:
        users = ", ".join(selectors.users_of(Image(pk=image_id), by))
        if image.kind == ImageKind.DISC:
            words = _(
                "The disc is in the drive of a machine: %(users)s. Nothing was deleted: take it out there first."
            )
        else:
            words = _(
                "Disks began as this image and stand on it: %(users)s. Nothing was deleted: delete those first."
            )
        raise Refused(words % {"users": users}) from exc
    log.info("image deleted", image=str(image_id), by=by.pk)


def image_change(image: Image, *, by: User) -> None:
    """Keep what a person says of an image, already checked by its form."""
    with transaction.atomic():
        image.save(update_fields=["name", "system", "version", "is_cloud"])
        record(Action.IMAGE_CHANGED, by=by, about=of_image(image))
        transaction.on_commit(publish.library_changed)
    log.info("image changed", image=str(image.pk), by=by.pk)


def of_image(image: Image) -> tuple[ObjectKind, object, str]:
    """An image, for a line of the activity."""
    return (ObjectKind.IMAGE, image.pk, image.name)


def name_of(filename: str) -> str:
    """A disc's name from what its file was called somewhere: no folders, visible characters, not too long."""
    last = filename.replace("\\", "/").rsplit("/", 1)[-1]
    visible = "".join(" " if unicodedata.category(each)[0] in "CZ" else each for each in last)
    name = " ".join(visible.split())
    stem, dot, ending = name.rpartition(".")
    if len(name) > _LONGEST_NAME and dot and len(ending) < 8:  # the ending says what it is
        return stem[: _LONGEST_NAME - len(ending) - 1].rstrip() + dot + ending
    return name[:_LONGEST_NAME].rstrip() or _("Disc")


def _as(found: recognise.Recognised) -> dict[str, str]:
    """The fields of what was recognised: a disk image is looked at by a host before it is ready."""
    state = ImageState.READY if found.kind is ImageKind.DISC else ImageState.CHECKING
    return {"kind": found.kind, "volume_label": found.label, "state": state}


def _join(upload: Upload, file: FileIO) -> int:
    """Where the next byte belongs: what both the row and the file know of. A crash may have left either behind."""
    have = file.seek(0, 2)
    if have < upload.offset_bytes:
        _advance(upload, have)
    return upload.offset_bytes


def _advance(upload: Upload, offset: int) -> None:
    """Write down how much has arrived. Raises Upload.DoesNotExist where the upload was cancelled meanwhile."""
    touched = timezone.now()
    if not Upload.objects.filter(pk=upload.pk).update(offset_bytes=offset, touched_at=touched):
        raise Upload.DoesNotExist
    upload.offset_bytes, upload.touched_at = offset, touched


def _finish(upload: Upload, file: FileIO) -> Image:
    """Check the whole file and put it into the library under the upload's id.

    The row's offset stays before the last bytes until the disc is in the library: whoever comes back after a crash
    sends those again, and everything here happens anew.
    """
    facts = recognise.recognise(file, size=upload.length_bytes, name=upload.name)
    image = Image(
        id=upload.pk,
        name=without_ending(upload.name) or _("Image"),
        **_as(facts),
        size_bytes=upload.length_bytes,
        sha256=parts.sha256(file),
        added_by=upload.owner,
    )
    return _shelve(image, upload.path, upload=upload)


def _shelve(image: Image, part: Path, *, upload: Upload | None = None) -> Image:
    """The file into the library, then its row, in place of the upload's. Raises Upload.DoesNotExist where it was cancelled."""
    try:
        parts.shelve(part, image.path)
        parts.give_to_owner_of(image.path.parent, image.path)
        wanted, number = image.name, 1
        while not _write_row(image, upload):
            number += 1
            suffix = f" ({number})"
            image.name = wanted[: _LONGEST_NAME - len(suffix)].rstrip() + suffix
    except BaseException as exc:
        image.path.unlink(missing_ok=True)
        if upload is not None and isinstance(exc, FileNotFoundError):
            raise Upload.DoesNotExist from exc
        raise
    part.unlink(missing_ok=True)
    by = image.added_by
    log.info("disc added", image=str(image.pk), name=image.name, by=by.pk if by else None)
    return image


def _write_row(image: Image, upload: Upload | None) -> bool:
    """Add the disc's row and remove the upload's in one transaction; False where the name is taken."""
    if Image.objects.filter(name=image.name).exists():
        return False
    try:
        with transaction.atomic():
            image.save(force_insert=True)
            record(
                Action.IMAGE_ADDED,
                by=image.added_by,
                about=of_image(image),
                details={"bytes": image.size_bytes},
            )
            if image.state == ImageState.CHECKING:
                checking.begin(image)
            if upload is not None and not Upload.objects.filter(pk=upload.pk).delete()[0]:
                raise Upload.DoesNotExist
            transaction.on_commit(publish.library_changed)
    except IntegrityError:
        if Image.objects.filter(name=image.name).exists():  # somebody was quicker with the name
            return False
        raise
    return True


def _remove(upload: Upload) -> None:
    """The row first: who still writes to the file finds the row gone, and removes what it wrote."""
    Upload.objects.filter(pk=upload.pk).delete()
    upload.path.unlink(missing_ok=True)


def require_room(folder: Path, length: int) -> None:
    """Raises Refused where the folder's disk has not that much room besides what is promised already."""
    free = max(0, shutil.disk_usage(folder).free - _ROOM_LEFT_BYTES - _promised_bytes())
    if length > free:
        words = _(
            "There is no room for it: the file has %(size)s, and %(free)s are free. Nothing was stored."
        )
        raise Refused(words % {"size": filesizeformat(length), "free": filesizeformat(free)})


def _promised_bytes() -> int:
    """What the uploads that go on just now will still take."""
    lately = timezone.now() - timedelta(minutes=5)
    going_on = Upload.objects.filter(touched_at__gte=lately)
    return sum(each.length_bytes - each.offset_bytes for each in going_on)
