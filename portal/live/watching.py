"""Which groups a page hears of what it watches: the table of rights says what it may."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from portal.accounts.models import User
from portal.live.topics import (
    APPROVERS,
    HOOKS,
    LIBRARY,
    NETWORKS,
    STAFF,
    machine_group,
    notices_group,
    owner_group,
    team_group,
)
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
    found = {
        "machines": _lists, "fleet": _staff, "hooks": _hooks, "library": _library, "networks": _networks,
        "requests": _requests, "notices": _notices,
    }  # fmt: skip
    return (
        {machine_group(UUID(which))} if name == "machine" else found[name](user) if name in found else set()
    )


def _lists(user: User) -> set[str]:
    if level_everywhere(user) is not None:
        return {STAFF}
    teams = Membership.objects.filter(user=user).values_list("team", flat=True)
    return {owner_group(user.pk), *map(team_group, teams)}


def _staff(_user: User) -> set[str]:
    return {STAFF}


def _hooks(_user: User) -> set[str]:
    return {HOOKS}


def _library(_user: User) -> set[str]:
    return {LIBRARY}


def _networks(_user: User) -> set[str]:
    return {NETWORKS}


def _requests(user: User) -> set[str]:
    return {APPROVERS} if user.is_approver or user.is_auditor else {owner_group(user.pk)}


def _notices(user: User) -> set[str]:
    return {notices_group(user.pk)}
