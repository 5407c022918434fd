"""A running machine's cables as they are wanted: names, addresses, ports and firewall of the cards that it has."""

from __future__ import annotations

import structlog

from workers.contract.errors import OffshootError
from workers.effects.work import Work
from workers.host import living, networks
from workers.killpoints import reached
from workers.plan.changes import card_in

log = structlog.get_logger()


def change_network(work: Work) -> None:
    """Plug the living machine's cards in as they are wanted now. No cable is pulled; where it fails all is as before."""
    now = living.living(work.folder)
    if now is None:
        return
    cards = []
    for nic in now.spec.nics:
        wanted = card_in(work.spec, nic) or nic
        # How much it may carry is another step's, and noted by it.
        cards.append(wanted.model_copy(update={"mbit_in": nic.mbit_in, "mbit_out": nic.mbit_out}))
    changed = {"nics": tuple(cards), "firewall": work.spec.firewall}
    try:
        networks.plug(work.host.config, now.spec.model_copy(update=changed))
    except OffshootError:
        try:
            networks.plug(work.host.config, now.spec)
        except OffshootError as exc:  # the check of all networks goes on trying
            log.warning("not undone", machine=str(work.spec.machine_id), error=exc.detail)
        raise
    reached("wiring changed")
    living.note_living(work.folder, **changed)
