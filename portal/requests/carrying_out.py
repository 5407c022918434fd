"""Making what was approved, in the transaction of the decision: the world is looked at again, as it is now."""

from __future__ import annotations

from uuid import UUID

from django.utils import timezone
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import Operation
from portal.backups.models import Backup
from portal.backups.selectors import backup_level
from portal.backups.services import backup_restore
from portal.leases.services import lease_grant
from portal.machines import cloning, hardware, services
from portal.machines.homes import may_have_machines
from portal.machines.models import Machine
from portal.machines.selectors import machine_level
from portal.networks.models import Network
from portal.quotas.account import Account
from portal.quotas.hold import approved
from portal.quotas.limits import limits_of
from portal.quotas.services import quota_raise, quota_set
from portal.refusal import Refused
from portal.requests.models import Request
from portal.requests.more import (
    Clone,
    LargerDisk,
    MoreDisk,
    MoreSize,
    OfMachine,
    OneMoreCard,
    Restored,
    has_changed,
)
from portal.requests.wish import Wish
from portal.requests.wishes import FromTemplate, LargerQuota, NewMachine
from portal.rights.levels import Level
from portal.teams.models import Team
from portal.teams.selectors import teams_owned


def carry_out(row: Request, given: Wish) -> None:
    """Make what was approved. Raises Refused where that cannot be done now."""
    asker = row.asked_by
    if not asker.is_active:
        raise Refused(_("The person's account is switched off. Decline the request."))
    if row.lasts_until is not None and row.lasts_until < timezone.now().date():
        raise Refused(_("The day until which it was asked for has passed. Decline the request."))
    if isinstance(given, LargerQuota):
        _larger_quota(row, given)
    elif isinstance(given, OfMachine):
        with approved(until=row.lasts_until):
            _change(given, asker)
    else:
        with approved():
            operation = _make(given, asker, row.team)
        if row.lasts_until is not None and operation.machine is not None and row.decided_by is not None:
            lease_grant(machine=operation.machine, until=row.lasts_until, by=row.decided_by)
        Request.objects.filter(pk=row.pk).update(machine=operation.machine_id)


def machine_to_change(machine_id: UUID, by: User) -> Machine:
    """The machine of a wish. Raises Refused where it is gone, or is not this person's to change any more."""
    machine = Machine.objects.filter(pk=machine_id).first()
    level = machine_level(by, machine.pk) if machine is not None else None
    if machine is None or level is None or level < Level.MANAGE:
        raise Refused(
            _("The machine is gone, or %(who)s may not change it any more. Nothing was changed.")
            % {"who": by}
        )
    return machine


def backup_to_use(backup_id: UUID, by: User) -> Backup:
    """The backup of a wish. Raises Refused where it is gone, or is not this person's to use any more."""
    backup = Backup.objects.filter(pk=backup_id).first()
    level = backup_level(by, backup.pk) if backup is not None else None
    if backup is None or level is None or level < Level.MANAGE:
        words = _("The backup is gone, or %(who)s may not use it any more. Nothing was changed.")
        raise Refused(words % {"who": by})
    return backup


def may_ask_for(user: User, team: Team) -> bool:
    """Whether a larger quota of the team is theirs to ask for. One query."""
    return teams_owned(user).filter(pk=team.pk).exists()


def _larger_quota(row: Request, given: LargerQuota) -> None:
    account = Account(row.asked_by_id, row.team_id)
    account.lock()
    if row.team is not None and not may_ask_for(row.asked_by, row.team):
        raise Refused(_("The person does not own that team any more. Decline the request."))
    if row.team is None and row.lasts_until is not None:
        quota_raise(user=row.asked_by, limits=given.limits, ends_on=row.lasts_until)
        return
    limits = limits_of(account, granted=False).raised_to(given.limits)
    quota_set(of=row.team or row.asked_by, limits=limits)


def _change(given: OfMachine, by: User) -> Operation:
    machine = machine_to_change(given.machine, by)
    match given:
        case MoreSize():
            cpus, memory_mib, most_mib = given.cpus, given.memory_mib, given.memory_most_mib
            _same(given, MoreSize.of(machine, cpus=cpus, memory_mib=memory_mib, memory_most_mib=most_mib))
            return hardware.machine_change_size(
                machine=machine, name=machine.name, cpus=cpus, memory_mib=memory_mib, memory_most_mib=most_mib,
                by=by,
            )  # fmt: skip
        case MoreDisk():
            return hardware.disk_add(
                machine=machine, size_bytes=given.disk_bytes, kind=given.kind, bus=given.bus, pool=given.pool,
                by=by,
            )  # fmt: skip
        case LargerDisk():
            _same(given, LargerDisk.of(machine, disk_id=given.disk, size_bytes=given.disk_bytes))
            return hardware.disk_grow(machine=machine, disk_id=given.disk, size_bytes=given.disk_bytes, by=by)
        case OneMoreCard():
            network = Network.objects.filter(pk=given.network).first()
            if network is None:
                raise Refused(_("The network of then is not there any more."))
            return hardware.card_add(machine=machine, network=network, model=given.model, by=by)
        case _:
            raise TypeError(type(given))


def _make(given: Wish, owner: User, team: Team | None) -> Operation:
    match given:
        case Clone():
            source = machine_to_change(given.machine, owner)
            name, linked, start = given.name, given.linked, given.start
            _same(given, Clone.of(source, name=name, linked=linked, start=start))
            return cloning.machine_clone(machine=source, name=name, linked=linked, start=start, by=owner)
        case Restored():
            backup = backup_to_use(given.backup, owner)
            return backup_restore(backup=backup, name=given.name, by=owner)
    if team is not None and not may_have_machines(owner, team):
        raise Refused(_("The person may not have machines in that team any more. Decline the request."))
    match given:
        case FromTemplate():
            template, network = given.again(owner)
            return cloning.machine_from_template(
                template=template, owner=owner, name=given.name, cpus=given.cpus, memory_mib=given.memory_mib,
                network=network, by=owner, team=team,
            )  # fmt: skip
        case NewMachine():
            return services.machine_create(owner=owner, requested_by=owner, wish=given.again(), team=team)
        case _:
            raise TypeError(type(given))


def _same(given: Wish, again: Wish) -> None:
    """Whoever decides has decided about what it was then."""
    if has_changed(given, again):
        words = _(
            "The machine has changed since this was asked for: it would be %(words)s now. "
            "Nothing was decided: decline it, and let it be asked again."
        )
        raise Refused(words % {"words": again.words})
