"""Names of the channel groups behind what a page can watch."""

from __future__ import annotations

import hashlib
from uuid import UUID

STAFF = "staff"
"""The lists of those who see everything: administrators and auditors."""
LIBRARY = "library"
NETWORKS = "networks"
APPROVERS = "approvers"
HOOKS = "hooks"


def machine_group(machine_id: UUID) -> str:
    """Whoever looks at one machine."""
    return f"machine.{machine_id.hex}"


def owner_group(user_id: int) -> str:
    """The lists of one person."""
    return f"owner.{user_id}"


def team_group(team_id: int) -> str:
    """The lists of everybody in a team."""
    return f"team.{team_id}"


def person_group(user_id: int) -> str:
    """Every socket of one person, whatever it shows: told when their rights change."""
    return f"person.{user_id}"


def notices_group(user_id: int) -> str:
    """The bells of one person."""
    return f"notices.{user_id}"


def session_group(session_key: str) -> str:
    """Every socket of one session; a hash, since the key itself is a secret."""
    return f"session.{hashlib.sha256(session_key.encode()).hexdigest()[:40]}"
