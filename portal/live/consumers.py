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
from portal.live.topics import person_group, session_group
from portal.live.watching import groups_of
from portal.rights.table import SOCKETS
from portal.rights.verdict import Verdict, verdict
from portal.screens.services import screens_ask
from workers.contract.screens import MOST_SCREENS

SIGN_IN = 4401
_RECHECK_SECONDS = 60
_PAUSE_SECONDS = 0.2
_MOST_TOPICS = 10
_LONGEST_TOPIC = 100


class LiveConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # channels is untyped
    """The page says {"watch": [topics]}; it gets {"changed": topic}, at most five times a second."""

    async def connect(self) -> None:
        """Only for somebody who is signed in."""
        self.user: User = self.scope["user"]
        self.watched: set[str] = set()
        self.groups_joined: set[str] = set()
        self.joining = asyncio.Lock()
        self.changed: set[str] = set()
        self.flushing: asyncio.Task[None] | None = None
        self.rechecking: asyncio.Task[None] | None = None
        await self.accept()
        if verdict(self.user, SOCKETS["live"], {}, changes=False) is not Verdict.WELCOME:
            await self.close(SIGN_IN)
            return
        self.session_key: str = self.scope["session"].session_key
        for group in (session_group(self.session_key), person_group(self.user.pk)):
            await self.channel_layer.group_add(group, self.channel_name)
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
            if isinstance(topic, str) and len(topic) < _LONGEST_TOPIC and len(self.watched) < _MOST_TOPICS:
                self.watched.add(topic)
        await self._join_what_may_be_seen()
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
        own = {session_group(self.session_key), person_group(self.user.pk)} if self.rechecking else set()
        for group in self.groups_joined | own:
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

    async def rights_changed(self, event: dict[str, Any]) -> None:
        """The person may see more than before, or less: the page looks again at what there is for it."""
        await self._join_what_may_be_seen()
        self.changed |= self.watched
        if self.flushing is None or self.flushing.done():
            self.flushing = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        while self.changed:
            topics, self.changed = sorted(self.changed), set()  # what changes while this is sent is told next
            await self.send_json({"changed": topics})
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _join_what_may_be_seen(self) -> None:
        async with self.joining:  # what was asked later counts
            wanted = await database_sync_to_async(self._groups)()
            for group in self.groups_joined - wanted:
                await self.channel_layer.group_discard(group, self.channel_name)
            for group in wanted - self.groups_joined:
                await self.channel_layer.group_add(group, self.channel_name)
            self.groups_joined = wanted

    async def _recheck(self) -> None:
        while True:
            await asyncio.sleep(_RECHECK_SECONDS)
            if not await database_sync_to_async(self._still_good)():
                await self.close(SIGN_IN)
                return
            await self._join_what_may_be_seen()

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

    def _groups(self) -> set[str]:
        """Of everything that the page watches, as far as the person may be told of it."""
        user = User.objects.filter(pk=self.user.pk).first()
        return set().union(*(groups_of(user, topic) for topic in self.watched)) if user is not None else set()
