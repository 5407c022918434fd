"""Reading the library."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.utils.translation import ngettext

from portal.accounts.models import User
from portal.images.catalogue import Entry, entries
from portal.images.models import Download, Image, ImageKind, ImageState, Upload
from portal.machines.models import Machine, Template
from portal.machines.selectors import machines_for
from portal.rights.levels import Level
from portal.rights.scope import level_everywhere, seen_by


@dataclass(frozen=True)
class UploadState:
    """How much of an upload has arrived, in bytes; a finished one is a disc of the library."""

    offset: int
    length: int
    upload: Upload | None


def driver_disc(discs: Iterable[Image]) -> Image | None:
    """The newest disc with Windows' drivers for virtual hardware, as its name or its label says; None without one."""
    found = [disc for disc in discs if any(map(_is_of_drivers, (disc.name, disc.volume_label)))]
    return max(found, key=lambda disc: disc.added_at, default=None)


def _is_of_drivers(words: str) -> bool:
    return words.lower().startswith("virtio-win")


def images_all() -> QuerySet[Image]:
    """Every image with who added it and `use_count`: the drives it is in, the disks and templates that began as it. One query."""
    counts = [
        Subquery(
            Image.objects.filter(pk=OuterRef("pk"))
            .order_by()
            .values("pk")
            .annotate(n=Count(each))
            .values("n")
        )
        for each in ("machines", "second_in", "disks", "bases")
    ]
    return (
        Image.objects.select_related("added_by")
        .annotate(use_count=counts[0] + counts[1] + counts[2] + counts[3])
        .order_by("name")
    )


def discs_ready() -> QuerySet[Image]:
    """What can be put into a drive."""
    return Image.objects.filter(kind=ImageKind.DISC, state=ImageState.READY).order_by("name")


def disks_ready() -> QuerySet[Image]:
    """What a disk can begin as: looked at by a host, and sound."""
    return Image.objects.filter(kind=ImageKind.DISK, state=ImageState.READY).order_by("name")


def users_of(image: Image, user: User) -> list[str]:
    """What stands in the way of the image's deletion: the person's own machines and templates by name, others' counted."""
    machines = [*image.machines.all(), *image.second_in.all()]
    machines += [disk.machine for disk in image.disks.select_related("machine")]
    templates = [base.template for base in image.bases.select_related("template")]
    mine, others = set[str](), set[object]()
    found: list[Machine | Template] = [*machines, *templates]
    ids = [each.pk for each in found]
    visible = set(machines_for(user).filter(pk__in=ids).values_list("pk", flat=True))
    visible |= set(seen_by(user, Template.objects.filter(pk__in=ids)).values_list("pk", flat=True))
    for each in found:
        if each.pk in visible:
            mine.add(f"‘{each.name}’")
        else:
            others.add(each.pk)
    words = ngettext("%(count)d of somebody else", "%(count)d of other people", max(len(others), 1))
    return sorted(mine) + ([words % {"count": len(others)}] if others else [])


def downloads_all() -> QuerySet[Download]:
    """What is on its way in from the catalogue, and what stopped on it."""
    return Download.objects.order_by("started_at")


def catalogue() -> list[Entry]:
    """The systems of the catalogue that are not on their way in already. One query."""
    coming = set(Download.objects.values_list("key", flat=True))
    return [entry for entry in entries().values() if entry.key not in coming]


def image_level(user: User, image_id: UUID) -> Level | None:
    """What the person may do with a disc or disk image: everybody use it, who added it delete it. One query."""
    image = Image.objects.only("added_by").filter(pk=image_id).first()
    return None if image is None else level_of_image(user, image)


def level_of_image(user: User, image: Image) -> Level:
    """The same, without a query."""
    everywhere = level_everywhere(user)
    if everywhere is not None:
        return everywhere
    return Level.OWN if image.added_by_id == user.pk else Level.OPERATE


def uploads_of(user: User) -> QuerySet[Upload]:
    """A person's unfinished uploads, the newest first."""
    return Upload.objects.filter(owner=user).order_by("-touched_at")


def upload_level(user: User, upload_id: UUID) -> Level | None:
    """OWN for whose it is, also after it became a disc; for everybody else it is not there. At most two queries."""
    mine = uploads_of(user).filter(pk=upload_id).exists()
    mine = mine or Image.objects.filter(pk=upload_id, added_by=user).exists()
    return Level.OWN if mine and not user.only_reads else None


def upload_state(user: User, upload_id: UUID) -> UploadState | None:
    """How far a person's own upload is. None where there is none of this id.

    An upload that was finished is still answered for, by the disc that it became: the last answer may have been lost.
    """
    upload = uploads_of(user).filter(pk=upload_id).first()
    if upload is not None:
        return UploadState(upload.offset_bytes, upload.length_bytes, upload)
    image = Image.objects.filter(pk=upload_id, added_by=user).first()
    return UploadState(image.size_bytes, image.size_bytes, None) if image is not None else None
