"""Freezing a machine's disks into a template, and forgetting templates that nothing stands on."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import OPEN_STATES, Kind, Operation
from portal.audit.actions import Action, ObjectKind
from portal.audit.services import record
from portal.live import publish
from portal.machines.asking import change, off, record_job
from portal.machines.models import Base, Disk, Machine, Template
from portal.machines.moving import refuse_with_snapshots
from portal.machines.specs import spec_of
from portal.refusal import Refused
from workers.contract.acts import FreezeDisks, FrozenDisk
from workers.contract.disks import DiskKind
from workers.contract.jobs import ForgetBase
from workers.contract.messages import OperationState, Progress

_TRY_AGAIN_SECONDS = 3600


def machine_publish(
    *, machine: Machine, name: str, description: str, for_everybody: bool, by: User
) -> Operation:
    """Make a template of a machine that is off; the machine goes on above it. Raises Refused."""
    with transaction.atomic():
        row = off(machine)
        template = begin_template(row, name=name, description=description)
        template.is_published = for_everybody
        template.save(update_fields=["is_published"])
        return freeze(row, template, by)


def begin_template(row: Machine, *, name: str, description: str = "", holds_clones: bool = False) -> Template:
    """The rows of a template to be: one base for each of the machine's disks. Raises Refused."""
    refuse_with_snapshots(row)
    disks = list(row.disks.order_by("position"))
    if not disks:
        raise Refused(_("The machine has no disk that could be shared."))
    template = Template.objects.create(
        owner=row.owner,
        team=row.team,
        host=row.host,
        name=name,
        description=description,
        holds_clones=holds_clones,
        hardware=spec_of(row).model_copy(update={"seed": None}).model_dump(mode="json"),
    )
    Base.objects.bulk_create(
        Base(
            template=template,
            position=disk.position,
            size_bytes=disk.size_bytes,
            kind=disk.kind,
            bus=disk.bus,
            stands_on_id=disk.base_id,
            image_id=disk.image_id if disk.base_id is None else None,
        )
        for disk in disks
    )
    return template


def freeze(row: Machine, template: Template, by: User) -> Operation:
    """Have the machine's disks become the template's bases."""
    bases = {base.position: base for base in template.bases.all()}
    disks = row.disks.order_by("position")
    act = FreezeDisks(
        disks=tuple(FrozenDisk(disk_id=disk.pk, base_id=bases[disk.position].pk) for disk in disks)
    )
    transaction.on_commit(publish.library_changed)
    return change(row, Kind.FREEZE, by, act=act, about=template.pk)


def settle_freeze(operation: Operation, progress: Progress) -> None:
    """It was done: the machine's disks stand on the template's. Else all of them are what they were, and there is no template."""
    template = Template.objects.filter(pk=operation.about).first() if operation.about else None
    if template is None:
        return
    if progress.state is OperationState.DONE:
        Template.objects.filter(pk=template.pk).update(is_ready=True)
        for base in template.bases.all():
            rows = Disk.objects.filter(machine=operation.machine_id, position=base.position)
            rows.update(kind=DiskKind.GROWING, base=base, image=None, origin=None)
    elif not Disk.objects.filter(base__template=template).exists():
        template.delete()
    transaction.on_commit(publish.library_changed)


def template_delete(*, template: Template, by: User) -> None:
    """Remove a template and its disks. Raises Refused, with names, where something stands on it."""
    with transaction.atomic():
        row = Template.objects.select_for_update().get(pk=template.pk)
        if Operation.objects.filter(kind=Kind.FREEZE, about=row.pk, state__in=OPEN_STATES).exists():
            raise Refused(_("The template is being made. Wait for its end. Nothing was deleted."))
        names = standing_on(row)
        if names:
            words = _("Nothing was deleted, since this stands on the template: %(names)s. Delete that first.")
            raise Refused(words % {"names": ", ".join(names)})
        about = (ObjectKind.TEMPLATE, row.pk, row.name)
        record(Action.TEMPLATE_DELETED, by=by, about=about)
        _forget(row, by)


def standing_on(template: Template) -> list[str]:
    """The names of what stands on the template's disks: machines, and templates that were made of such. Two queries."""
    machines = Machine.objects.filter(disks__base__template=template).distinct().order_by("name")
    above = Template.objects.filter(bases__stands_on__template=template).exclude(pk=template.pk).distinct()
    return [
        *machines.values_list("name", flat=True),
        *(
            _("a copy of “%(name)s”") % {"name": each.name} if each.holds_clones else f"“{each.name}”"
            for each in above
        ),
    ]


def forget_unused() -> int:
    """Remove what only linked clones stood on, now that none does; how many templates that were."""
    on_it = Disk.objects.filter(base__template=OuterRef("pk"))
    above = Base.objects.filter(stands_on__template=OuterRef("pk")).exclude(template=OuterRef("pk"))
    being_made = Operation.objects.filter(kind=Kind.FREEZE, about=OuterRef("pk"), state__in=OPEN_STATES)
    unused: QuerySet[Template] = Template.objects.filter(holds_clones=True).exclude(
        Q(Exists(on_it)) | Q(Exists(above)) | Q(Exists(being_made))
    )
    lately = timezone.now() - timedelta(seconds=_TRY_AGAIN_SECONDS)
    forgotten = 0
    for template in unused:
        bases = template.bases.values_list("pk", flat=True)
        if Operation.objects.filter(kind=Kind.FORGET_BASE, about__in=bases, created_at__gt=lately).exists():
            continue
        with transaction.atomic():
            _forget(Template.objects.select_for_update().get(pk=template.pk), None)
        forgotten += 1
    return forgotten


def _forget(template: Template, by: User | None) -> None:
    """On no list any more; gone when its host has removed the files, the ones above before those below."""
    template.is_ready, template.is_published, template.holds_clones = False, False, True
    template.save(update_fields=["is_ready", "is_published", "holds_clones"])
    bases = list(template.bases.all())
    for base in bases:
        record_job(template.host, Kind.FORGET_BASE, by, job=ForgetBase(base_id=base.pk), about=base.pk)
    if not bases:
        template.delete()
    transaction.on_commit(publish.library_changed)


def settle_forget(operation: Operation, progress: Progress) -> None:
    """The file is gone, so is its row, and with the last one the template."""
    if progress.state is not OperationState.DONE or operation.about is None:
        return
    base = Base.objects.filter(pk=operation.about).select_related("template").first()
    if base is None:
        return
    template = base.template
    base.delete()
    if not template.bases.exists():
        template.delete()
