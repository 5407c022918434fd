"""Telling the browsers that look that something changed. Called on commit; never raises, never waits.

One thread a process holds the connection and sends what came meanwhile together, in order, each thing once: fifty machines
that are made at once change a list many times, and a page fetches itself once for all of it.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Iterable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from uuid import UUID

import structlog
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from portal.live.topics import (
    APPROVERS,
    HOOKS,
    LIBRARY,
    NETWORKS,
    STAFF,
    machine_group,
    notices_group,
    owner_group,
    person_group,
    session_group,
    team_group,
)
from portal.rights.audience import Audience, audience_of

_LONGEST_SECONDS = 1.0
_GATHER_SECONDS = 0.03
"""How long a word waits for others; nobody sees it, and a burst becomes one."""
log = structlog.get_logger()


def machine_changed(machine_id: UUID, audience: Audience | None = None) -> None:
    """A machine is not what it was. `audience`: who had it, where its row is gone already; else one query finds them."""
    groups = dict.fromkeys(_lists(audience or audience_of(machine_id)), "machines")
    _tell(groups | {machine_group(machine_id): f"machine:{machine_id}"})


def screen_seen(machine_id: UUID, at: int) -> None:
    """There is a new picture of a machine's screen; whoever watches the machine, or lists with it, fetches that alone."""
    message = {"type": "screen.seen", "machine": str(machine_id), "at": str(at)}
    _send(dict.fromkeys((machine_group(machine_id), *_lists(audience_of(machine_id))), message))


def rights_changed(people: Iterable[int]) -> None:
    """These may see or do less than before, or more: each of their open pages and consoles asks anew what it may."""
    _send({person_group(each): {"type": "rights.changed"} for each in people})


def _lists(audience: Audience) -> list[str]:
    return [STAFF, *map(owner_group, audience.people), *map(team_group, audience.teams)]


def fleet_changed() -> None:
    """A host came, went, or has news."""
    _tell({STAFF: "fleet"})


def library_changed() -> None:
    """A disc came or went."""
    _tell({LIBRARY: "library"})


def networks_changed() -> None:
    """A network came, went, or is another one; or a host is connected to it otherwise."""
    _tell({NETWORKS: "networks"})


def requests_changed(asked_by_id: int) -> None:
    """A request was made, decided, answered, or is over."""
    _tell(dict.fromkeys((APPROVERS, owner_group(asked_by_id)), "requests"))


def notices_changed(user_id: int) -> None:
    """A person has a new notice, or has read some."""
    _tell({notices_group(user_id): "notices"})


def hooks_changed() -> None:
    """Something was sent to a web hook, or was not taken."""
    _tell({HOOKS: "hooks"})


def session_ended(session_key: str) -> None:
    """A person signed out: their sockets close."""
    _send({session_group(session_key): {"type": "session.ended"}})


def _tell(topics: dict[str, str]) -> None:
    _send({group: {"type": "page.changed", "topic": topic} for group, topic in topics.items()})


def _send(messages: dict[str, dict[str, str]]) -> None:
    _voice.say(messages)


class _Voice:
    """The thread that sends, begun with the first word, ended with the process after the last one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, str], dict[str, str]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sending: Future[None] | None = None

    def say(self, messages: dict[str, dict[str, str]]) -> None:
        with self._lock:
            is_sent_already = bool(self._waiting)
            for group, message in messages.items():
                self._waiting.setdefault((group, message.get("topic", "")), message)
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                thread = threading.Thread(target=self._loop.run_forever, name="live pages", daemon=True)
                thread.start()
                # A command would end before it was heard, and the interpreter may abort over a thread that still works.
                atexit.register(self._end, thread)
            if not is_sent_already:
                self._sending = asyncio.run_coroutine_threadsafe(self._send(), self._loop)

    def _end(self, thread: threading.Thread) -> None:
        if self._sending is not None and self._loop is not None:
            with suppress(TimeoutError, CancelledError):
                self._sending.result(_GATHER_SECONDS + _LONGEST_SECONDS)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(_LONGEST_SECONDS)

    async def _send(self) -> None:
        await asyncio.sleep(_GATHER_SECONDS)
        with self._lock:
            messages, self._waiting = self._waiting, {}
        try:
            layer = get_channel_layer()
            async with asyncio.timeout(_LONGEST_SECONDS):
                for (group, _topic), message in messages.items():
                    await layer.group_send(group, message)
        except (RedisError, OSError, TimeoutError) as exc:
            # The page asks by itself from time to time: what is lost here is only the haste.
            log.warning("pages not told", groups=[group for group, _topic in messages], error=str(exc))
        except Exception:
            log.exception("pages not told")


_voice = _Voice()
