"""Changing a machine's firewall. Each call is one transaction: the rules, the Operation, and the message for the host."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import Kind, Operation
from portal.audit.actions import Action
from portal.audit.services import of_machine, record
from portal.machines.asking import change, changeable
from portal.machines.firewall import Kept, for_new_machine, kept, mark_of, stored
from portal.machines.models import Machine
from portal.refusal import Refused
from workers.contract.networks import FirewallRule, FirewallSpec

MOST_RULES = 64


def firewall_set(*, machine: Machine, is_on: bool, allow_in: bool, allow_out: bool, by: User) -> Operation:
    """Switch it on or off, and say what happens to what no rule is about. Raises Refused."""
    with transaction.atomic():
        row = changeable(machine)
        before = kept(row.firewall)
        spec = before.spec if before else for_new_machine(row.guest)
        wanted = Kept(is_on, spec.model_copy(update={"allow_in": allow_in, "allow_out": allow_out}))
        if wanted == before or (before is None and not is_on):
            raise Refused(_("That is so already. Nothing was changed."))
        return _write(row, wanted, by)


def rules_add(*, machine: Machine, rules: tuple[FirewallRule, ...], by: User) -> Operation:
    """More rules, after those that are there. Raises Refused."""
    with transaction.atomic():
        row = changeable(machine)
        now = _on(row)
        if any(rule in now.spec.rules for rule in rules):
            raise Refused(_("That rule is there already. Nothing was changed."), "what")
        if len(now.spec.rules) + len(rules) > MOST_RULES:
            words = _("A firewall has at most %(most)d rules. Remove one first; nothing was changed.")
            raise Refused(words % {"most": MOST_RULES})
        return _write(row, _with(now, (*now.spec.rules, *rules)), by)


def rule_remove(*, machine: Machine, mark: str, number: int, by: User) -> Operation:
    """Take out the rule of that number, from 0 on. Raises Refused."""
    with transaction.atomic():
        row = changeable(machine)
        now = _meant(row, mark, number)
        return _write(row, _with(now, (*now.spec.rules[:number], *now.spec.rules[number + 1 :])), by)


def rule_move(*, machine: Machine, mark: str, number: int, up: bool, by: User) -> Operation:
    """One place up or down: the first rule that fits decides. Raises Refused."""
    with transaction.atomic():
        row = changeable(machine)
        now = _meant(row, mark, number)
        other = number - 1 if up else number + 1
        if not 0 <= other < len(now.spec.rules):
            raise Refused(_("The rule is there already. Nothing was changed."))
        rules = list(now.spec.rules)
        rules[number], rules[other] = rules[other], rules[number]
        return _write(row, _with(now, tuple(rules)), by)


def _write(row: Machine, wanted: Kept, by: User) -> Operation:
    told = {
        "is_on": wanted.is_on,
        "rules": len(wanted.spec.rules),
        "in": wanted.spec.allow_in,
        "out": wanted.spec.allow_out,
    }
    record(Action.FIREWALL_CHANGED, by=by, about=of_machine(row), details=told)
    return change(row, Kind.CHANGE, by, firewall=stored(wanted.spec, is_on=wanted.is_on))


def _on(row: Machine) -> Kept:
    found = kept(row.firewall)
    if found is None or not found.is_on:
        raise Refused(_("The firewall is off. Switch it on first. Nothing was changed."))
    return found


def _meant(row: Machine, mark: str, number: int) -> Kept:
    now = _on(row)
    if mark != mark_of(now.spec) or not 0 <= number < len(now.spec.rules):
        raise Refused(_("The rules have changed meanwhile. Look at them again; nothing was changed."))
    return now


def _with(now: Kept, rules: tuple[FirewallRule, ...]) -> Kept:
    # Built anew, so that it is checked.
    spec = FirewallSpec(allow_in=now.spec.allow_in, allow_out=now.spec.allow_out, rules=rules)
    return Kept(now.is_on, spec)
