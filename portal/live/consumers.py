"""The socket of a page: tells it that what it shows has changed, so that it fetches itself anew."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from uuid import UUID

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from portal.accounts.models import User
from portal.live.sessions import session_is_valid
from portal.live.topics import (
    LIBRARY,
    NETWORKS,
    STAFF,
    machine_group,
    owner_group,
    person_group,
    session_group,
)
from portal.machines.selectors import machines_for
from portal.screens.services import screens_ask
from workers.contract.screens import MOST_SCREENS

SIGN_IN = 4401
_RECHECK_SECONDS = 60
_PAUSE_SECONDS = 0.2
_MOST_TOPICS = 10


class LiveConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # channels is untyped
    """The page says {"watch": [topics]}; it gets {"changed": topic}, at most five times a second."""

    async def connect(self) -> None:
        """Only for somebody who is signed in."""
        self.user: User = self.scope["user"]
        self.groups_joined: set[str] = set()
        self.changed: set[str] = set()
        self.flushing: asyncio.Task[None] | None = None
        self.rechecking: asyncio.Task[None] | None = None
        await self.accept()
        if not self.user.is_authenticated:
            await self.close(SIGN_IN)
            return
        self.session_key: str = self.scope["session"].session_key
        await self._join(session_group(self.session_key))
        self.rechecking = asyncio.create_task(self._recheck())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **_: Any) -> None:
        """Bytes mean nothing here."""
        if text_data is not None:
            await super().receive(text_data=text_data)

    async def receive_json(self, content: Any, **_: Any) -> None:
        """Join the groups of what the page shows; what the person may not see is passed over in silence."""
        if isinstance(content, dict) and "screens" in content and self.user.is_authenticated:
            await database_sync_to_async(self._ask_for_screens)(content["screens"])
            return
        topics = content.get("watch") if isinstance(content, dict) else None
        if not isinstance(topics, list) or not self.user.is_authenticated:
            return
        for topic in topics[:_MOST_TOPICS]:
            group = await self._group_of(topic) if isinstance(topic, str) else None
            if group is not None and len(self.groups_joined) < _MOST_TOPICS:
                await self._join(group)
        await self.send_json({"watching": True})

    @classmethod
    async def decode_json(cls, text_data: str) -> Any:
        """Anything that is not JSON is nothing."""
        with suppress(ValueError):
            return await super().decode_json(text_data)
        return None

    async def disconnect(self, code: int) -> None:
        """Leave every group."""
        for task in (self.flushing, self.rechecking):
            if task is not None:
                task.cancel()
        for group in self.groups_joined:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def page_changed(self, event: dict[str, Any]) -> None:
        """Collect for a moment, so that a burst is one message."""
        self.changed.add(event["topic"])
        if self.flushing is None or self.flushing.done():
            self.flushing = asyncio.create_task(self._flush())

    async def screen_seen(self, event: dict[str, Any]) -> None:
        """A picture that somebody asked for has come."""
        await self.send_json({"screen": event["machine"], "at": event["at"]})

    async def session_ended(self, event: dict[str, Any]) -> None:
        """The person signed out."""
        await self.close(SIGN_IN)

    async def _flush(self) -> None:
        while self.changed:
            topics, self.changed = sorted(self.changed), set()  # what changes while this is sent is told next
            await self.send_json({"changed": topics})
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _join(self, group: str) -> None:
        self.groups_joined.add(group)
        await self.channel_layer.group_add(group, self.channel_name)

    async def _recheck(self) -> None:
        while True:
            await asyncio.sleep(_RECHECK_SECONDS)
            if not await database_sync_to_async(self._still_good)():
                await self.close(SIGN_IN)
                return

    def _ask_for_screens(self, raw: object) -> None:
        """At most a picture a minute and machine comes of it, whatever a page asks."""
        found = []
        for each in raw[:MOST_SCREENS] if isinstance(raw, list) else []:
            with suppress(ValueError, AttributeError, TypeError):
                found.append(UUID(each))
        if found and self._still_good():
            screens_ask(self.user, found)

    def _still_good(self) -> bool:
        user = User.objects.filter(pk=self.user.pk, is_active=True).first()
        return user is not None and session_is_valid(self.session_key, user)

    async def _group_of(self, topic: str) -> str | None:
        if topic == "machines":
            return STAFF if self.user.is_administrator else owner_group(self.user.pk)
        if topic == "notices":
            return person_group(self.user.pk)
        if topic in ("fleet", "hooks"):
            return STAFF if self.user.is_administrator else None
        if topic == "library":
            return LIBRARY
        if topic == "networks":
            return NETWORKS
        if topic.startswith("machine:"):
            group: str | None = await database_sync_to_async(self._machine_group)(
                topic.removeprefix("machine:")
            )
            return group
        return None

    def _machine_group(self, raw: str) -> str | None:
        try:
            machine_id = UUID(raw)
        except ValueError:
            return None
        visible = machines_for(self.user).filter(pk=machine_id).exists()
        return machine_group(machine_id) if visible else None
