"""A browser's console: checks who it is, then relays bytes both ways, never more than the slower side takes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from uuid import UUID

import structlog
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, WebSocketException

from portal.accounts.models import User
from portal.audit.actions import Action
from portal.audit.origin import of_socket
from portal.audit.services import of_machine, record
from portal.console import services
from portal.console.relay import open_screen
from portal.console.view_only import NotUnderstood, OnlyLooking
from portal.live.sessions import session_is_valid
from portal.live.topics import machine_group, person_group, session_group
from portal.machines.models import Machine

SIGN_IN, NO_MACHINE, TICKET_OVER, UNREACHABLE, ENDED, ANEW = 4401, 4404, 4408, 4503, 4000, 4409
"""Close codes; static/js/console.js has a sentence for each."""

RECHECK_SECONDS = 30
log = structlog.get_logger()


class ConsoleConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels is untyped
    """Channels hands over one message after another and waits for each: a full way to the host stops the reading."""

    upstream: ClientConnection | None = None
    looks: OnlyLooking | None = None
    """Between the browser and the host where the person may only look."""
    _opened: Machine | None = None
    _tasks: tuple[asyncio.Task[None], ...] = ()

    async def connect(self) -> None:
        """Take the ticket, open the way to the host."""
        self.machine_id: UUID = self.scope["url_route"]["kwargs"]["machine_id"]
        self.user: User = self.scope["user"]
        self.session_key: str = self.scope["session"].session_key or ""
        # Accepted before it is refused, so that the browser learns the code; nothing is relayed until all is checked.
        await self.accept("binary" if "binary" in self.scope["subprotocols"] else None)
        if not self.user.is_authenticated:
            await self.close(SIGN_IN)
            return
        machine = await self._redeem()
        if machine is None:
            await self.close(TICKET_OVER)
            return
        for group in self._groups:
            await self.channel_layer.group_add(group, self.channel_name)
        may = await self._may()  # after it listens: what is taken away meanwhile is told to it
        if not isinstance(may, services.Console):
            await self.close(may)
            return
        self.looks = None if may.uses else OnlyLooking()
        try:
            self.upstream = await open_screen(machine.host.gateway, self.machine_id)
        except (OSError, WebSocketException, TimeoutError) as exc:
            log.info("console unreachable", machine=str(self.machine_id), error=str(exc))
            await self.close(UNREACHABLE)
            return
        log.info("console opened", machine=str(self.machine_id), user=self.user.pk)
        self._opened = machine
        await self._note(Action.CONSOLE_OPENED)
        self._tasks = (asyncio.create_task(self._to_browser()), asyncio.create_task(self._recheck()))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Bytes from the browser: the next are read when the host has taken these."""
        if bytes_data is None or self.upstream is None:
            return
        if self.looks is not None:
            try:
                bytes_data = self.looks.passed(bytes_data)
            except NotUnderstood:
                log.info(
                    "console of somebody who only looks ended",
                    machine=str(self.machine_id),
                    user=self.user.pk,
                )
                await self.close(ENDED)
                return
        if bytes_data:
            with suppress(ConnectionClosed):
                await self.upstream.send(bytes_data)

    async def disconnect(self, code: int) -> None:
        """Everything ends with the browser's side."""
        for task in self._tasks:
            task.cancel()
        if self.upstream is not None:
            await self.upstream.close()
        if self._opened is not None:
            await self._note(Action.CONSOLE_CLOSED)
        if self.user.is_authenticated:
            for group in self._groups:
                await self.channel_layer.group_discard(group, self.channel_name)

    async def session_ended(self, event: dict[str, Any]) -> None:
        """The person signed out."""
        await self.close(SIGN_IN)

    async def page_changed(self, event: dict[str, Any]) -> None:
        """Something of the machine changed: it may be another person's now, or gone."""
        await self._look_again()

    async def rights_changed(self, event: dict[str, Any]) -> None:
        """The person may do more than before, or less."""
        await self._look_again()

    async def _to_browser(self) -> None:
        assert self.upstream is not None  # noqa: S101  the task is made after the connection
        with suppress(ConnectionClosed):
            async for chunk in self.upstream:
                await self.send(bytes_data=chunk if isinstance(chunk, bytes) else chunk.encode())
        await self.close(ENDED)

    async def _recheck(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            if not await self._look_again():
                return

    async def _look_again(self) -> bool:
        """Close where the person may not look any more; where they may do something else than before, it is opened anew."""
        may = await self._may()
        if not isinstance(may, services.Console):
            await self.close(may)
            return False
        if may.uses != (self.looks is None):
            await self.close(ANEW)
            return False
        return True

    @property
    def _groups(self) -> tuple[str, ...]:
        return session_group(self.session_key), person_group(self.user.pk), machine_group(self.machine_id)

    @database_sync_to_async  # type: ignore[untyped-decorator]
    def _redeem(self) -> Machine | None:
        offered = [word for word in self.scope["subprotocols"] if word.startswith("ticket.")]
        if len(offered) != 1:
            return None
        return services.ticket_redeem(
            ticket=offered[0].removeprefix("ticket."),
            user=self.user,
            session_key=self.session_key,
            machine_id=self.machine_id,
        )

    @database_sync_to_async  # type: ignore[untyped-decorator]
    def _note(self, action: Action) -> None:
        assert self._opened is not None  # noqa: S101  it was opened before it is noted
        record(action, by=self.user, about=of_machine(self._opened), origin=of_socket(self.scope))

    @database_sync_to_async  # type: ignore[untyped-decorator]
    def _may(self) -> services.Console | int:
        """What the person may do here; where that is nothing, the code that says why."""
        user = User.objects.filter(pk=self.user.pk, is_active=True).first()
        if user is None or not session_is_valid(self.session_key, user):
            return SIGN_IN
        return services.console_of(user, self.machine_id) or NO_MACHINE
