"""Reading templates, always scoped to what a person may see, and what stands on what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import Http404

from portal.accounts.models import User
from portal.activity.models import OPEN_STATES, Kind, Operation
from portal.machines.cloning import hardware_of
from portal.machines.models import Base, Disk, Machine, Template
from portal.machines.selectors import machines_for
from portal.rights.levels import Level
from portal.rights.scope import level_everywhere, level_of, seen_by


@dataclass(frozen=True)
class ListedTemplate:
    """A template as the list shows it. `machines` are those that the person may see; `others` counts the rest."""

    id: UUID
    name: str
    description: str
    host_name: str
    owner_name: str
    cpus: int
    memory_mib: int
    disk_bytes: int
    is_published: bool
    state: str
    machines: tuple[Machine, ...]
    others: int
    may_use: bool
    may_delete: bool


def templates_for(user: User) -> QuerySet[Template]:
    """The templates that a person sees: their own, their teams', published ones, all for who sees everything."""
    kept = Template.objects.filter(holds_clones=False)
    if level_everywhere(user) is None:
        mine = seen_by(user, Template.objects.all()).values("pk")
        kept = kept.filter(Q(pk__in=mine) | Q(is_published=True, is_ready=True))
    return kept.select_related("owner", "team", "host").order_by("name", "created_at")


def template_for(user: User, template_id: UUID) -> Template:
    """The template. Raises Http404 where the person may not see it."""
    template = templates_for(user).filter(pk=template_id).first()
    if template is None:
        raise Http404
    return template


def template_level(user: User, template_id: UUID) -> Level | None:
    """What the person may do with it; who sees it may make machines of it. None where they do not see it. Two queries."""
    visible = templates_for(user).filter(pk=template_id).exists()
    return _levels(user, [template_id]).get(template_id, Level.OPERATE) if visible else None


def _levels(user: User, template_ids: Sequence[UUID]) -> dict[UUID, Level]:
    """The person's level of those that are their own or their teams'; all where they see everything. One query."""
    rows = seen_by(user, Template.objects.filter(pk__in=template_ids)).only("pk")
    return {row.pk: level_of(row) for row in rows}


def templates_listed(user: User) -> list[ListedTemplate]:
    """Rows of the list. Six queries, however many rows."""
    templates = list(templates_for(user).prefetch_related("bases"))
    standing = _standing(template.pk for template in templates)
    open_ones = Operation.objects.filter(
        kind=Kind.FREEZE, state__in=OPEN_STATES, about__in=[template.pk for template in templates]
    )
    being_made = set(open_ones.values_list("about", flat=True))
    levels = _levels(user, [template.pk for template in templates])
    on_them = [machine.pk for machines in standing.values() for machine in machines]
    seen = set(machines_for(user).filter(pk__in=on_them).values_list("pk", flat=True)) if on_them else set()
    return [
        _listed(
            template,
            levels.get(template.pk, Level.OPERATE),
            standing[template.pk],
            seen,
            is_being_made=template.pk in being_made,
        )
        for template in templates
    ]


def linked_clones_of(machine: Machine, user: User) -> list[Machine]:
    """The other machines, of those that the person may see, that share frozen disks with this one."""
    bases = {disk.base_id for disk in machine.disks.all() if disk.base_id is not None}
    layer = bases
    while layer:  # a query for each time that its disks were frozen
        below = Base.objects.filter(pk__in=layer).values_list("stands_on", flat=True)
        layer = {each for each in below if each is not None} - bases
        bases = bases | layer
    return list(machines_for(user).filter(disks__base__in=bases).exclude(pk=machine.pk).distinct())


def _standing(template_ids: Iterable[UUID]) -> dict[UUID, list[Machine]]:
    """The machines on each template, whoever's they are. One query."""
    found: dict[UUID, dict[UUID, Machine]] = defaultdict(dict)
    disks = Disk.objects.filter(base__template__in=list(template_ids)).select_related("base", "machine")
    for disk in disks.defer("machine__under_the_hood", "machine__exit_detail").order_by("machine__name"):
        if disk.base is not None:
            found[disk.base.template_id][disk.machine_id] = disk.machine
    return defaultdict(list, {key: list(machines.values()) for key, machines in found.items()})


def _listed(
    template: Template, level: Level, machines: list[Machine], visible: set[UUID], *, is_being_made: bool
) -> ListedTemplate:
    hardware = hardware_of(template)
    seen = tuple(each for each in machines if each.pk in visible)
    return ListedTemplate(
        id=template.pk,
        name=template.name,
        description=template.description,
        host_name=template.host.name,
        owner_name=template.team.name if template.team is not None else template.owner.username,
        cpus=hardware.cpus,
        memory_mib=hardware.memory_mib,
        disk_bytes=sum(base.size_bytes for base in template.bases.all()),
        is_published=template.is_published,
        state="ready" if template.is_ready else "making" if is_being_made else "failed",
        machines=seen,
        others=len(machines) - len(seen),
        may_use=level >= Level.OPERATE,
        may_delete=level >= Level.OWN,
    )
