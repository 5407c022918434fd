"""Reading classes, always scoped to what a person may see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Count, Q, QuerySet
from django.http import Http404

from portal.accounts.models import User
from portal.activity.models import OPEN_STATES, Operation
from portal.activity.selectors import newest_operations
from portal.classes.models import Class, Member
from portal.machines.models import Machine
from portal.machines.selectors import machines_for, status_with
from portal.machines.status import Status
from portal.rights.levels import Level
from portal.rights.scope import level_everywhere
from portal.teams.models import Membership, Role, Team
from portal.teams.selectors import teams_owned
from workers.contract.messages import OperationState


@dataclass(frozen=True)
class Progress:
    """How far the last act is, over all machines of the class."""

    total: int
    done: int
    failed: int
    refused: int

    @property
    def ended(self) -> int:
        """Nothing more comes of these."""
        return self.done + self.failed + self.refused

    @property
    def under_way(self) -> int:
        """The others."""
        return self.total - self.ended


@dataclass(frozen=True)
class ListedMember:
    """A row of the class's page. `status` is None where there is no machine any more; `is_seen`: for a link."""

    id: int
    person_name: str
    machine_id: UUID | None
    machine_name: str
    status: Status | None
    is_seen: bool
    refusal: str
    failed: bool


def may_make_classes(user: User) -> bool:
    """An administrator, or an owner of a team. At most one query."""
    if user.only_reads or not user.is_active:
        return False
    return user.is_administrator or Membership.objects.filter(user=user, role=Role.OWNER).exists()


def teams_owned_by(user: User) -> QuerySet[Team]:
    """The teams for which the person may make a class: all for an administrator."""
    if user.is_administrator:
        return Team.objects.order_by("name")
    return teams_owned(user)


def classes_for(user: User) -> QuerySet[Class]:
    """A team's for its owners, the others for who made them, all for who sees everything."""
    rows = Class.objects.select_related("team", "made_by").annotate(people_count=Count("members"))
    if level_everywhere(user) is not None:
        return rows.order_by("-created_at")
    owned = Membership.objects.filter(user=user, role=Role.OWNER)
    return rows.filter(Q(team__in=owned.values("team")) | Q(team=None, made_by=user)).order_by("-created_at")


def class_for(user: User, class_id: UUID) -> Class:
    """The class. Raises Http404 where the person may not see it."""
    found = classes_for(user).filter(pk=class_id).first()
    if found is None:
        raise Http404
    return found


def class_level(user: User, class_id: UUID) -> Level | None:
    """What the person may do with it; None where they do not see it. One query."""
    if not classes_for(user).filter(pk=class_id).exists():
        return None
    return level_everywhere(user) or Level.OWN


def progress_of(row: Class) -> Progress:
    """One query."""
    members = list(row.members.select_related("operation"))
    refused = sum(bool(each.refusal) for each in members)
    asked = [each for each in members if not each.refusal]
    failed = sum(_failed(each) for each in asked)
    under_way = sum(each.operation is not None and each.operation.state in OPEN_STATES for each in asked)
    return Progress(len(members), len(asked) - failed - under_way, failed, refused)


def members_of(row: Class, user: User) -> list[ListedMember]:
    """Its people with what their machines are. Five queries, however many."""
    members = list(row.members.select_related("operation"))
    ids = [each.machine_id for each in members if each.machine_id is not None]
    machines = {
        each.pk: each
        for each in Machine.objects.filter(pk__in=ids)
        .select_related("host")
        .defer("under_the_hood", "exit_detail")
    }
    seen = set(machines_for(user).filter(pk__in=ids).values_list("pk", flat=True))
    newest = newest_operations(ids)
    return [_listed(each, machines, seen, newest) for each in members]


def _listed(
    member: Member, machines: dict[UUID, Machine], seen: set[UUID], newest: dict[UUID, Operation]
) -> ListedMember:
    machine = machines.get(member.machine_id) if member.machine_id else None
    operation = newest.get(machine.pk) if machine else None
    return ListedMember(
        id=member.pk,
        person_name=member.person_name,
        machine_id=machine.pk if machine else None,
        machine_name=machine.name if machine else member.machine_name,
        status=status_with(machine, operation) if machine else None,
        is_seen=machine is not None and machine.pk in seen,
        refusal=member.refusal,
        failed=_failed(member),
    )


def _failed(member: Member) -> bool:
    return member.operation is not None and member.operation.state == OperationState.FAILED


def has_machines(members: Sequence[ListedMember]) -> bool:
    """Some of them have one yet."""
    return any(each.machine_id is not None for each in members)
