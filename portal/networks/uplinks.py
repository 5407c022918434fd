"""Where bridged networks meet hosts: choosing a bridge, having one made around a card, and taking it away again."""

from __future__ import annotations

import structlog
from django.db import transaction
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import OPEN_STATES, Kind, Operation
from portal.audit.actions import Action
from portal.audit.services import record
from portal.fleet.models import Host
from portal.live import publish
from portal.machines.asking import record_job
from portal.networks.changing import machines_locked, of_network, refuse_while_used, tell_machines
from portal.networks.models import Network, Uplink
from portal.networks.services import networks_locked
from portal.refusal import Refused
from workers.contract.errors import MessageError
from workers.contract.host import InterfaceFacts
from workers.contract.jobs import MakeBridge, RemoveBridge
from workers.contract.messages import DoJob, OperationState, Progress
from workers.contract.networks import NetworkKind
from workers.contract.version import from_wire

BRIDGE_KINDS = (Kind.MAKE_BRIDGE, Kind.REMOVE_BRIDGE)
log = structlog.get_logger()


def uplink_set(*, network: Network, host: Host, bridge: str, by: User) -> None:
    """The network is this bridge of the host; machines of it that are there are told. Raises Refused."""
    with transaction.atomic():
        machines = machines_locked(network, host=host)
        row = _bridged(networks_locked(network))
        if bridge not in {each.name for each in bridges_of(host)}:
            raise Refused(_("The host %(host)s has no such bridge now.") % {"host": host.name}, "bridge")
        uplink, is_new = Uplink.objects.get_or_create(network=row, host=host, defaults={"bridge": bridge})
        if not is_new:
            if uplink.bridge == bridge:
                raise Refused(_("That is so already. Nothing was changed."), "bridge")
            Uplink.objects.filter(pk=uplink.pk).update(bridge=bridge)
            tell_machines(row, by, machines)
        _tell_pages()
        record(Action.UPLINK_SET, by=by, about=of_network(row), details={"host": host.name, "bridge": bridge})
    log.info("uplink", network=str(network.pk), host=host.name, bridge=bridge, by=by.pk)


def uplink_remove(*, network: Network, host: Host, by: User) -> None:
    """The network is not on this host any more. Raises Refused, naming them, while machines there are in it."""
    with transaction.atomic():
        row = networks_locked(network)
        why = _("The host %(host)s can be disconnected only while no machine on it is in the network")
        refuse_while_used(row, why % {"host": host.name}, host=host)
        if not Uplink.objects.filter(network=row, host=host).delete()[0]:
            raise Refused(_("The host is not connected to this network."))
        _tell_pages()
        record(Action.UPLINK_REMOVED, by=by, about=of_network(row), details={"host": host.name})
    log.info("uplink removed", network=str(network.pk), host=host.name, by=by.pk)


def bridge_make(*, host: Host, card: str, network: Network | None, is_sure: bool, by: User) -> Operation:
    """Have the host make a bridge around a card, for this network where one is named. Raises Refused."""
    with transaction.atomic():
        row = _ready(host)
        if card not in {each.name for each in cards_of(row)}:
            raise Refused(_("The host %(host)s has no such free card now.") % {"host": row.name}, "card")
        if not is_sure:
            raise Refused(_("Say that you have read what happens. Nothing was changed."), "sure")
        if network is not None:
            _bridged(networks_locked(network))
        job = MakeBridge(interface=card)
        _tell_pages()
        return record_job(row, Kind.MAKE_BRIDGE, by, job=job, about=network.pk if network else None)


def bridge_remove(*, host: Host, bridge: str, by: User) -> Operation:
    """Have the host take a bridge of ours away again. Raises Refused while a network is connected by it."""
    with transaction.atomic():
        row = _ready(host)
        if bridge not in {each.name for each in bridges_of(row) if each.is_ours}:
            raise Refused(_("The host %(host)s has no such bridge of ours now.") % {"host": row.name})
        names = list(
            row.uplinks.filter(bridge=bridge)
            .order_by("network__name")
            .values_list("network__name", flat=True)
        )
        if names:
            words = _(
                "The host is connected by this bridge to: %(networks)s. Disconnect it there first. Nothing was changed."
            )
            raise Refused(words % {"networks": ", ".join(f"“{name}”" for name in names)})
        _tell_pages()
        return record_job(row, Kind.REMOVE_BRIDGE, by, job=RemoveBridge(bridge=bridge))


def settle_bridge(operation: Operation, progress: Progress) -> None:
    """A bridge was made or taken away, or was not: a network gets what was made for it."""
    if progress.state is OperationState.DONE and operation.host is not None:
        connect_made(operation.host)


def connect_made(host: Host) -> int:
    """Connect networks by the bridges that were made for them, as soon as the host tells of those; how many were."""
    connected = 0
    made = host.operations.filter(
        kind=Kind.MAKE_BRIDGE, state=OperationState.DONE, about__isnull=False, facts__isnull=True
    )
    for operation in made:
        card = card_of(operation)
        bridge = next((each for each in bridges_of(host) if card in each.ports), None)
        if bridge is None:
            continue
        network = Network.objects.filter(pk__in=[operation.about], kind=NetworkKind.BRIDGED).first()
        if network is not None:
            Uplink.objects.get_or_create(network=network, host=host, defaults={"bridge": bridge.name})
            connected += 1
        Operation.objects.filter(pk=operation.pk).update(facts={"kind": "bridge", "bridge": bridge.name})
        _tell_pages()
    return connected


def card_of(operation: Operation) -> str:
    """The card or bridge that a bridge's operation is about; empty where that is of another contract."""
    try:
        job = from_wire(DoJob, operation.message).job
    except MessageError:
        return ""
    if isinstance(job, MakeBridge):
        return job.interface
    return job.bridge if isinstance(job, RemoveBridge) else ""


def bridges_of(host: Host) -> list[InterfaceFacts]:
    """The bridges that the host has told of."""
    facts = host.host_facts
    return [each for each in facts.interfaces if each.is_bridge] if facts else []


def cards_of(host: Host) -> list[InterfaceFacts]:
    """The cards that a bridge could be made around: those that are in none."""
    facts = host.host_facts
    cards = facts.interfaces if facts else ()
    return [each for each in cards if not each.is_bridge and not each.bridge and each.name != "lo"]


def _ready(host: Host) -> Host:
    """The host's row, locked. Raises Refused where it is silent or already at it."""
    row = Host.objects.select_for_update().get(pk=host.pk)
    if row.is_silent:
        raise Refused(_("The host cannot be reached now. Nothing was changed: try again when it is back."))
    if row.operations.filter(kind__in=BRIDGE_KINDS, state__in=OPEN_STATES).exists():
        raise Refused(
            _("The host is just making or removing a bridge. Wait for its end; nothing was changed.")
        )
    return row


def _bridged(row: Network) -> Network:
    if row.kind != NetworkKind.BRIDGED:
        raise Refused(
            _("Only a network of yours is connected by a bridge. This one every host makes by itself.")
        )
    return row


def _tell_pages() -> None:
    transaction.on_commit(publish.networks_changed)
    transaction.on_commit(publish.fleet_changed)
