"""Which groups a page hears of what it watches: the table of rights says what it may."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from portal.accounts.models import User
from portal.live.topics import APPROVERS, LIBRARY, NETWORKS, STAFF, machine_group, owner_group, team_group
from portal.rights.scope import level_everywhere
from portal.rights.table import TOPICS
from portal.rights.verdict import Verdict, verdict
from portal.teams.models import Membership


def groups_of(user: User, topic: str) -> set[str]:
    """None of a topic that there is not, or not for this person. At most two queries."""
    name, colon, which = topic.partition(":")
    right = TOPICS.get(name)
    if right is None or bool(colon) != (right.of is not None):
        return set()
    named = {}
    if right.of is not None:
        with suppress(ValueError):
            named[right.of.value] = UUID(which)
        if not named:
            return set()
    if verdict(user, right, named, changes=False) is not Verdict.WELCOME:
        return set()
    match name:
        case "machine":
            return {machine_group(UUID(which))}
        case "machines":
            return _lists(user)
        case "fleet":
            return {STAFF}
        case "library":
            return {LIBRARY}
        case "networks":
            return {NETWORKS}
        case "requests":
            return {APPROVERS} if user.is_approver or user.is_auditor else {owner_group(user.pk)}
        case _:
            return set()


def _lists(user: User) -> set[str]:
    if level_everywhere(user) is not None:
        return {STAFF}
    teams = Membership.objects.filter(user=user).values_list("team", flat=True)
    return {owner_group(user.pk), *map(team_group, teams)}
