"""What an administrator does with the sizes."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from django.db import transaction
from django.db.models import Max
from django.utils.text import slugify
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.audit.actions import Action, ObjectKind
from portal.audit.services import record
from portal.flavours.models import Flavour
from portal.flavours.selectors import CUSTOM
from portal.refusal import Refused


@dataclass(frozen=True)
class FlavourWish:
    """A size as an administrator wants it: memory in MiB, disk in GiB."""

    name: str
    description: str
    cpus: int
    memory_mib: int
    disk_gib: int
    is_hidden: bool = False
    needs_approval: bool = False


TO_BEGIN_WITH = (
    FlavourWish("Small", "A text system, a small service", 1, 1024, 10),
    FlavourWish("Medium", "A server for a few people, a light desktop", 2, 2048, 20),
    FlavourWish("Large", "A desktop, a database, builds", 4, 8192, 64),
)


def ensure_flavours(using: str = "default") -> None:
    """The sizes of a new installation, where there is none at all."""
    rows = Flavour.objects.using(using)
    if not rows.exists():
        rows.bulk_create(
            Flavour(key=slugify(each.name), position=position, **asdict(each))
            for position, each in enumerate(TO_BEGIN_WITH)
        )


def flavour_add(*, wish: FlavourWish, by: User | None = None) -> Flavour:
    """One more size, after the others. Raises Refused."""
    with transaction.atomic():
        _refuse_same_name(wish.name)
        _note(by, "added", wish.name)
        last = Flavour.objects.aggregate(last=Max("position"))["last"]
        return Flavour.objects.create(
            key=_free_key(wish.name), position=0 if last is None else last + 1, **asdict(wish)
        )


def flavour_change(*, flavour: Flavour, wish: FlavourWish, by: User | None = None) -> None:
    """Another size under the same key; machines that were made with it stay as they are. Raises Refused."""
    with transaction.atomic():
        _refuse_same_name(wish.name, but=flavour.pk)
        if not Flavour.objects.filter(pk=flavour.pk).update(**asdict(wish)):
            raise Refused(_("That size is not there any more."))
        _note(by, "changed", wish.name)


def flavour_move(*, flavour: Flavour, down: bool) -> None:
    """One place up or down in the order."""
    with transaction.atomic():
        rows = list(Flavour.objects.select_for_update())
        here = next((index for index, each in enumerate(rows) if each.pk == flavour.pk), None)
        there = None if here is None else here + (1 if down else -1)
        if here is None or there is None or not 0 <= there < len(rows):
            return
        rows[here], rows[there] = rows[there], rows[here]
        for position, row in enumerate(rows):
            row.position = position
        Flavour.objects.bulk_update(rows, ["position"])


def flavour_remove(*, flavour: Flavour, by: User | None = None) -> None:
    """Take a size away; machines that were made with it stay as they are. Raises Refused for the last one."""
    with transaction.atomic():
        rows = list(Flavour.objects.select_for_update())
        if len(rows) == 1:
            raise Refused(_("That is the last size. Hide it instead, or add another one first."))
        Flavour.objects.filter(pk=flavour.pk).delete()
        _note(by, "removed", flavour.name)


def _note(by: User | None, what: str, name: str) -> None:
    record(Action.SIZES_CHANGED, by=by, about=(ObjectKind.SITE, "", name), details={"what": what})


def _refuse_same_name(name: str, but: int = 0) -> None:
    if Flavour.objects.filter(name=name).exclude(pk=but).exists():
        raise Refused(_("There is a size of this name already. Choose another name."), "name")


def _free_key(name: str) -> str:
    """Its name in the letters of an address; never that of a size of one's own."""
    stem = slugify(name)[:55] or "size"
    taken = {CUSTOM, "template", *Flavour.objects.filter(key__startswith=stem).values_list("key", flat=True)}
    return next(key for key in (stem, *(f"{stem}-{n}" for n in range(2, 10_000))) if key not in taken)
