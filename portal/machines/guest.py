"""What the system inside a machine says of itself, and what is asked of it through its agent."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from django.db import transaction
from django.utils.translation import gettext as _
from pydantic import ValidationError

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.machines.asking import change, running
from portal.machines.models import Machine, Nic
from portal.machines.passwords import hashed
from portal.refusal import Refused
from workers.contract.acts import SetPassword
from workers.contract.messages import AgentFacts, AgentState, Observed

_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_WINDOWS = "Microsoft Windows"


@dataclass(frozen=True)
class Guest:
    """A machine's guest as its page shows it; `others` are addresses that it has beside those that were kept for it."""

    state: AgentState
    system: str
    host_name: str
    addresses: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def takes_password(self) -> bool:
        """A password can be set through its agent; that of Windows takes none that is hashed."""
        return self.state is AgentState.ANSWERS and not self.system.startswith(_WINDOWS)


def guest_of(machine: Machine, nics: list[Nic]) -> Guest | None:
    """What is known of the running machine's guest; None before its host has said anything of it."""
    facts = facts_of(machine)
    if facts is None:
        return None
    kept = {address for nic in nics for address in (nic.address, nic.address6)}
    return Guest(
        state=facts.state,
        system=facts.system,
        host_name=facts.host_name,
        addresses=facts.addresses,
        others=tuple(address for address in facts.addresses if address not in kept),
    )


def facts_of(machine: Machine) -> AgentFacts | None:
    """What the guest's agent has said, None where nothing is known or nothing runs."""
    if machine.agent is None or machine.observed not in (Observed.RUNNING, Observed.PAUSED):
        return None
    try:
        return AgentFacts.model_validate_json(json.dumps(machine.agent))
    except ValidationError:  # written down by another version
        return None


def password_set(*, machine: Machine, account: str, password: str, by: User) -> Operation:
    """Have the guest set an account's password. The password itself is kept nowhere. Raises Refused."""
    if not (_ACCOUNT.fullmatch(account) or account == "Administrator"):
        raise Refused(
            _("That is no name of an account: small letters, digits, - and _, as in the machine itself."),
            "account",
        )
    password_hash = hashed(password)
    with transaction.atomic():
        row = running(machine)
        guest = guest_of(row, [])
        if guest is None or guest.state is AgentState.ABSENT:
            raise Refused(_("The machine has no guest agent, and this needs one. Nothing was changed."))
        if guest.state is AgentState.SILENT:
            raise Refused(
                _("The machine's guest agent does not answer now, and this needs one. Nothing was changed.")
            )
        if not guest.takes_password:
            raise Refused(
                _(
                    "Windows takes a password only from inside: set it in the machine's console. Nothing was changed."
                )
            )
        return change(
            row, Kind.SET_PASSWORD, by, act=SetPassword(account=account, password_hash=password_hash)
        )
