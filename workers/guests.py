"""What running guests say of themselves: each agent is asked every few seconds, off the monitors' loop.

One task a machine sleeps on that loop; the asking itself is done by a few threads, so that a guest that is slow, or lies, holds
up no event and, for long, no other guest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

import structlog

from workers.contract.messages import AgentFacts, AgentState
from workers.host.agent import Agent, AgentAbsent, AgentFailed, Busy, agent_of
from workers.host.wishes import is_buried
from workers.observation import observe
from workers.this_host import Host

ASK_SECONDS = 10.0
EAGER_SECONDS = 2.0
"""How often a guest is asked that has just begun to answer, until its addresses are known."""

_EAGER_TIMES = 15
_THREADS = 16
T = TypeVar("T")
log = structlog.get_logger()


@dataclass
class _Guest:
    facts: AgentFacts
    asking: asyncio.Task[None] | None = field(default=None)


class Guests:
    """The agents of this host's running machines. All but `facts` and `close` is called on the monitors' loop."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._guests: dict[UUID, _Guest] = {}
        self._pool = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="guests")

    def facts(self, machine_id: UUID) -> AgentFacts | None:
        """What is known of a running machine's guest; None before anything is."""
        guest = self._guests.get(machine_id)
        return guest.facts if guest else None

    def port_changed(self, machine_id: UUID, *, is_open: bool) -> None:
        """A program in the guest has opened or closed the agent's port."""
        guest = self._guests.setdefault(machine_id, _Guest(AgentFacts(state=AgentState.ABSENT)))
        if guest.asking is not None:
            guest.asking.cancel()
            guest.asking = None
        if is_open:
            guest.asking = self._host.monitors.begin(self._keep_asking(machine_id, guest))
        else:
            self._learn(machine_id, guest, AgentFacts(state=AgentState.ABSENT))

    def forget(self, machine_id: UUID) -> None:
        """The machine's qemu is no longer listened to."""
        guest = self._guests.pop(machine_id, None)
        if guest is not None and guest.asking is not None:
            guest.asking.cancel()

    def close(self) -> None:
        """Ask no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _keep_asking(self, machine_id: UUID, guest: _Guest) -> None:
        loop = asyncio.get_running_loop()
        times = 0
        while True:
            try:
                facts = await loop.run_in_executor(self._pool, self._ask, machine_id, guest.facts)
                self._learn(machine_id, guest, facts)
            except Busy:
                pass  # somebody has something better to say to it
            except Exception:
                log.exception("agent", machine=str(machine_id))
            times += 1
            eager = times < _EAGER_TIMES and not guest.facts.addresses
            await asyncio.sleep(EAGER_SECONDS if eager else ASK_SECONDS)

    def _ask(self, machine_id: UUID, before: AgentFacts) -> AgentFacts:
        """What the guest says now; what it had said before, where it is silent. Raises Busy."""
        folder = self._host.folder(machine_id)
        try:
            with agent_of(folder, turn_seconds=0) as agent:
                _let_go(agent, machine_id)
                return AgentFacts(
                    state=AgentState.ANSWERS,
                    system=_or_nothing(agent.system, ""),
                    host_name=_or_nothing(agent.host_name, ""),
                    addresses=_or_nothing(agent.addresses, ()),
                )
        except (AgentAbsent, AgentFailed) as exc:
            if before.state is not AgentState.SILENT:
                log.info("agent is silent", machine=str(machine_id), detail=exc.detail)
            return before.model_copy(update={"state": AgentState.SILENT})

    def _learn(self, machine_id: UUID, guest: _Guest, facts: AgentFacts) -> None:
        if facts == guest.facts or self._guests.get(machine_id) is not guest:
            return
        guest.facts = facts
        with suppress(RuntimeError):  # this worker ends
            self._pool.submit(self._tell, machine_id)

    def _tell(self, machine_id: UUID) -> None:
        try:
            if not is_buried(self._host.config.state, machine_id):
                self._host.report_observed(observe(self._host, machine_id, brief=True))
        except Exception:
            log.exception("not observed", machine=str(machine_id))


def _let_go(agent: Agent, machine_id: UUID) -> None:
    """Nobody else speaks with it now, so filesystems that are frozen were left so by a worker that was killed."""
    try:
        if agent.is_frozen():
            log.warning("thawed", machine=str(machine_id))
            agent.thaw()
    except AgentFailed:
        pass  # an agent that cannot freeze


def _or_nothing(ask: Callable[[], T], nothing: T) -> T:
    """What it answers, `nothing` where it refuses: an administrator may have switched some questions off."""
    try:
        return ask()
    except AgentFailed:
        return nothing
