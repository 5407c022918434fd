"""Every thirty seconds all networks are made as they should be, whoever deleted a bridge, flushed rules or killed dnsmasq."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from uuid import UUID

import structlog

from workers.config import HostConfig
from workers.contract.errors import OffshootError
from workers.contract.host import MOST_REPAIRS, Repair
from workers.effects.devices import replug_card
from workers.effects.work import Superseded, Work
from workers.host import living, networks, processes, uplinks, wishes
from workers.host.locks import locked_at_once
from workers.this_host import Host

_EARLY_SECONDS = 30.0
"""How long a worker that is started with its host waits for the host's cards to have their addresses."""

log = structlog.get_logger()


class NetworkCheck:
    """The check in a thread of its own. It runs under the networks' lock, so never against a change in flight."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._stop = threading.Event()
        self._told: set[str] = set()
        self._repairs: deque[Repair] = deque(maxlen=MOST_REPAIRS)
        self._thread = threading.Thread(target=self._run, name="network check", daemon=True)

    def start(self) -> None:
        """Look at once, since anything may have happened while no worker ran, and then again and again."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking; what is being put right is finished."""
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        while True:
            try:
                looked = check_networks(self._host)
                self._note(looked.righted)
                self._say(looked.troubles)
            except Exception:
                log.exception("networks not checked")
            if self._stop.wait(self._host.config.network_check_seconds):
                return

    def _say(self, troubles: tuple[OffshootError, ...]) -> None:
        """Once, not every thirty seconds; again where it was well in between."""
        for trouble in troubles:
            if trouble.detail not in self._told:
                log.warning("networks not put right", code=trouble.code.value, detail=trouble.detail)
        self._told = {trouble.detail for trouble in troubles}

    def _note(self, righted: tuple[str, ...]) -> None:
        for what in righted:
            self._repairs.appendleft(Repair(at=int(time.time()), what=what[:120]))

    @property
    def repairs(self) -> tuple[Repair, ...]:
        """What was put right last, the newest first."""
        return tuple(self._repairs)


def make_uplinks_again(host: Host) -> None:
    """Changes of bridges that a killed worker did not confirm are undone; confirmed bridges that are gone are made again.

    Before machines are taken up again: some are plugged into them. Raises nothing.
    """
    for tidy in (uplinks.settle, _made_again_in_time):
        try:
            bridges = tidy(host.config)
        except (OffshootError, OSError) as exc:
            log.warning("bridges of the host", error=str(exc))
        else:
            if bridges:
                log.warning("bridges of the host", what=tidy.__name__, bridges=bridges)


def _made_again_in_time(config: HostConfig) -> tuple[str, ...]:
    """The same as uplinks.make_again, when the host's cards have what they had, or had time to."""
    deadline = time.monotonic() + _EARLY_SECONDS
    if uplinks.is_early(config.state):
        log.info("bridges of the host wait for what their cards had", seconds=_EARLY_SECONDS)
    while uplinks.is_early(config.state) and time.monotonic() < deadline:
        time.sleep(0.2)
    return uplinks.make_again(config)


@dataclass(frozen=True)
class Looked:
    """What was put right, in words, and what could not be."""

    righted: tuple[str, ...]
    troubles: tuple[OffshootError, ...]


def check_networks(host: Host) -> Looked:
    """Look at all networks once, and put right what can be."""
    troubles: list[OffshootError] = []
    righted: list[str] = []
    for put_right in (uplinks.make_again, uplinks.bring_all_over):
        try:
            righted += [f"bridge {name}" for name in put_right(host.config)]
        except OffshootError as exc:
            troubles.append(exc)
    found = networks.Found()
    try:
        found = networks.check(host.config, lambda machine_id: processes.runs(host.folder(machine_id)))
    except OffshootError as exc:
        troubles.append(exc)
    righted += found.righted
    troubles += found.troubles
    for machine_id, mac in found.lost:
        try:
            if _plugged_anew(host, machine_id, mac):
                righted.append(f"card {mac} of {machine_id}")
        except Superseded:
            continue  # somebody wants something else of the machine meanwhile
        except OffshootError as exc:
            troubles.append(type(exc)(f"the tap of {mac} of machine {machine_id} is gone: {exc.detail}"))
    if righted:
        log.warning("networks put right", what=righted)
    return Looked(tuple(righted), tuple(troubles))


def _plugged_anew(host: Host, machine_id: UUID, mac: str) -> bool:
    """Give a living machine's card a new tap; False where the machine is busy, or has its tap by now."""
    folder = host.folder(machine_id)
    with locked_at_once(folder.apply_lock) as is_mine:
        wish = wishes.newest_wish(folder)
        if not is_mine or wish is None or not processes.runs(folder):
            return False
        now = living.living(folder)
        nics = now.spec.nics if now is not None else ()
        if not any(nic.mac == mac and not networks.has_tap(nic) for nic in nics):
            return False
        replug_card(Work(host, wish, folder), mac)
        return True
