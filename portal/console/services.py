"""Console tickets: given out to a person's page, taken once when its WebSocket opens."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.utils import timezone
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.console.models import ConsoleTicket
from portal.machines.models import Machine
from portal.refusal import Refused
from portal.rights.table import SOCKETS
from portal.rights.verdict import Verdict, verdict
from workers.contract.messages import Observed

TICKET_SECONDS = 30


@dataclass(frozen=True)
class Console:
    """What a person may do at a machine's screen, whom it is shown to."""

    uses: bool


def console_of(user: User, machine_id: UUID) -> Console | None:
    """What the table of rights says; None where they may not look. At most two queries."""
    right, named = SOCKETS["console"], {"machine_id": machine_id}
    if verdict(user, right, named, changes=False) is not Verdict.WELCOME:
        return None
    return Console(uses=verdict(user, right, named, changes=True) is Verdict.WELCOME)


def ticket_issue(*, user: User, session_key: str, machine: Machine) -> str:
    """A ticket for one look at the machine's screen; what is stored is its hash. Raises Refused."""
    if machine.host.is_silent:
        raise Refused(_("The machine's host cannot be reached now. The console opens when it is back."))
    if machine.observed not in (Observed.RUNNING, Observed.PAUSED):
        raise Refused(_("The machine is not running, so it has no screen now."))
    ticket = secrets.token_urlsafe(32)
    ConsoleTicket.objects.create(
        digest=digest(ticket),
        user=user,
        session_digest=digest(session_key),
        machine=machine,
        expires_at=timezone.now() + timedelta(seconds=TICKET_SECONDS),
    )
    return ticket


def ticket_redeem(*, ticket: str, user: User, session_key: str, machine_id: UUID) -> Machine | None:
    """The machine, where the ticket is this person's, this session's, this machine's, in time, and unused."""
    used, _rows = ConsoleTicket.objects.filter(
        digest=digest(ticket),
        user=user,
        session_digest=digest(session_key),
        machine=machine_id,
        expires_at__gt=timezone.now(),
    ).delete()
    if used != 1:  # one DELETE decides: of two that come at once, one finds no row
        return None
    return Machine.objects.select_related("host").filter(pk=machine_id).first()


def tickets_clear_expired() -> int:
    """Remove tickets that nobody used; how many."""
    removed, _rows = ConsoleTicket.objects.filter(expires_at__lte=timezone.now()).delete()
    return removed


def digest(secret: str) -> str:
    """What is stored in place of a secret; its 256 random bits need no salt."""
    return hashlib.sha256(secret.encode()).hexdigest()
