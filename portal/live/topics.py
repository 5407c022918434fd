"""Names of the channel groups behind what a page can watch."""

from __future__ import annotations

import hashlib
from uuid import UUID

STAFF = "staff"
LIBRARY = "library"
NETWORKS = "networks"


def person_group(user_id: int) -> str:
    """Every page of one person: its bell."""
    return f"person.{user_id}"


def machine_group(machine_id: UUID) -> str:
    """Whoever looks at one machine."""
    return f"machine.{machine_id.hex}"


def owner_group(user_id: int) -> str:
    """The lists of one person."""
    return f"owner.{user_id}"


def session_group(session_key: str) -> str:
    """Every socket of one session; a hash, since the key itself is a secret."""
    return f"session.{hashlib.sha256(session_key.encode()).hexdigest()[:40]}"
