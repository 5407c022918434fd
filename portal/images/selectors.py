"""Reading the library."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Count, QuerySet

from portal.accounts.models import User
from portal.images.models import Image, Upload


@dataclass(frozen=True)
class UploadState:
    """How much of an upload has arrived, in bytes; a finished one is a disc of the library."""

    offset: int
    length: int
    upload: Upload | None


def images_all() -> QuerySet[Image]:
    """Every disc with who added it and `machine_count`, the machines that have it in a drive. One query."""
    in_drives = Count("machines", distinct=True) + Count("second_in", distinct=True)
    return Image.objects.select_related("added_by").annotate(machine_count=in_drives).order_by("name")


def driver_disc(discs: Iterable[Image]) -> Image | None:
    """The newest disc with Windows' drivers for virtual hardware, as its name or its label says; None without one."""
    found = [disc for disc in discs if any(map(_is_of_drivers, (disc.name, disc.volume_label)))]
    return max(found, key=lambda disc: disc.added_at, default=None)


def _is_of_drivers(words: str) -> bool:
    return words.lower().startswith("virtio-win")


def may_delete(user: User, image: Image) -> bool:
    """A disc is deleted by who added it, or by an administrator."""
    return user.is_administrator or image.added_by_id == user.pk


def uploads_of(user: User) -> QuerySet[Upload]:
    """A person's unfinished uploads, the newest first."""
    return Upload.objects.filter(owner=user).order_by("-touched_at")


def upload_state(user: User, upload_id: UUID) -> UploadState | None:
    """How far a person's own upload is. None where there is none of this id.

    An upload that was finished is still answered for, by the disc that it became: the last answer may have been lost.
    """
    upload = Upload.objects.filter(pk=upload_id, owner=user).first()
    if upload is not None:
        return UploadState(upload.offset_bytes, upload.length_bytes, upload)
    image = Image.objects.filter(pk=upload_id, added_by=user).first()
    return UploadState(image.size_bytes, image.size_bytes, None) if image is not None else None
