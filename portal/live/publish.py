"""Telling the browsers that look that something changed. Called on commit; never raises, never waits for long."""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from portal.live.topics import LIBRARY, NETWORKS, STAFF, machine_group, owner_group, session_group
from portal.machines.models import Machine

_LONGEST_SECONDS = 1.0
log = structlog.get_logger()


def machine_changed(machine_id: UUID, owner_id: int | None = None) -> None:
    """A machine is not what it was. `owner_id` where its row is gone already; else one query finds it."""
    if owner_id is None:
        owner_id = Machine.objects.filter(pk=machine_id).values_list("owner_id", flat=True).first()
    groups = {machine_group(machine_id): f"machine:{machine_id}", STAFF: "machines"}
    if owner_id is not None:
        groups[owner_group(owner_id)] = "machines"
    _tell(groups)


def fleet_changed() -> None:
    """A host came, went, or has news."""
    _tell({STAFF: "fleet"})


def library_changed() -> None:
    """A disc came or went."""
    _tell({LIBRARY: "library"})


def networks_changed() -> None:
    """A network came, went, or is another one; or a host is connected to it otherwise."""
    _tell({NETWORKS: "networks"})


def session_ended(session_key: str) -> None:
    """A person signed out: their sockets close."""
    _send({session_group(session_key): {"type": "session.ended"}})


def _tell(topics: dict[str, str]) -> None:
    _send({group: {"type": "page.changed", "topic": topic} for group, topic in topics.items()})


def _send(messages: dict[str, dict[str, str]]) -> None:
    try:
        async_to_sync(_group_send)(messages)
    except (RedisError, OSError, TimeoutError) as exc:
        # The page asks by itself from time to time: what is lost here is only the haste.
        log.warning("pages not told", groups=list(messages), error=str(exc))


async def _group_send(messages: dict[str, dict[str, str]]) -> None:
    layer = get_channel_layer()
    async with asyncio.timeout(_LONGEST_SECONDS):
        for group, message in messages.items():
            await layer.group_send(group, message)
