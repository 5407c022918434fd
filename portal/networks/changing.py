"""What administrators do with networks. Each call is one transaction: the network, its machines' cards, and a wish for each."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.activity.models import Kind
from portal.audit.actions import Action, ObjectKind
from portal.audit.services import record
from portal.fleet.models import Host
from portal.live import publish
from portal.machines.asking import change, exclusive, is_starting
from portal.machines.models import Machine, Nic
from portal.networks.models import Network
from portal.networks.names import host_name_for
from portal.networks.ranges import free_subnet, random_subnet6, range_of, subnet6_from, subnet_from
from portal.networks.services import address6_beside, networks_locked, private_network
from portal.refusal import Refused
from workers.contract.messages import Observed
from workers.contract.networks import NetworkKind
from workers.contract.spec import Power

_MOST_NAMED = 3
log = structlog.get_logger()


@dataclass(frozen=True)
class NetworkWish:
    """What an administrator asks for; ranges as typed. A bridged network has none."""

    name: str
    kind: NetworkKind
    subnet: str = ""
    subnet6: str = ""
    routed6: bool = False


def network_create(*, wish: NetworkWish, by: User) -> Network:
    """Define a network; hosts make it with the first machine in it. Raises Refused."""
    name = clean_name(wish.name)
    with _quickest(), transaction.atomic():
        networks_locked(private_network())  # one at a time, so that two never get ranges that overlap
        _refuse_name(name, None)
        network = Network(name=name, kind=wish.kind)
        if wish.kind is not NetworkKind.BRIDGED:
            network.subnet = str(_free(subnet_from(wish.subnet), None))
            if wish.subnet6:
                network.routed6 = wish.routed6 and wish.kind is NetworkKind.NAT
                subnet6 = subnet6_from(wish.subnet6, routed=network.routed6)
                network.subnet6 = str(_free6(subnet6, None))
        network.save(force_insert=True)
        transaction.on_commit(publish.networks_changed)
        record(
            Action.NETWORK_MADE,
            by=by,
            about=of_network(network),
            details={"kind": network.kind, "range": network.subnet},
        )
    log.info("network made", network=str(network.pk), kind=network.kind, by=by.pk)
    return network


def network_rename(*, network: Network, name: str, by: User) -> None:
    """Call it something else; its machines are found under the new name. Raises Refused."""
    name = clean_name(name)

    def rename(row: Network) -> bool:
        _refuse_name(name, row)
        is_another_domain = host_name_for(name) != host_name_for(row.name) and bool(row.subnet)
        row.name = name
        row.save(update_fields=["name"])
        return is_another_domain

    _change(network, by, rename)


def network_change_subnet(*, network: Network, subnet: str, by: User) -> None:
    """Another range, while no machine is in it. Raises Refused."""

    def change_subnet(row: Network) -> bool:
        if not row.subnet:
            raise Refused(_("A network of yours gives its addresses itself."), "subnet")
        refuse_while_used(
            row, _("The range can be changed only while no machine is in the network"), "subnet"
        )
        row.subnet = str(_free(subnet_from(subnet), row))
        row.save(update_fields=["subnet"])
        return False

    _change(network, by, change_subnet)


def network_change_ipv6(*, network: Network, subnet6: str, routed: bool, by: User) -> None:
    """IPv6 with this range, or without (empty); each card gets or loses its address, each machine a wish. Raises Refused."""

    def change_ipv6(row: Network) -> bool:
        if not row.subnet:
            raise Refused(_("In a network of yours IPv6 comes from its own routers."), "subnet6")
        wanted6 = ""
        is_routed = bool(subnet6) and routed and row.kind == NetworkKind.NAT
        if subnet6:
            wanted6 = str(_free6(subnet6_from(subnet6, routed=is_routed), row))
        if (row.subnet6, row.routed6) == (wanted6, is_routed):
            raise Refused(_("That is so already. Nothing was changed."))
        row.subnet6, row.routed6 = wanted6, is_routed
        row.save(update_fields=["subnet6", "routed6"])
        nics = list(row.nics.all())
        for nic in nics:
            nic.address6 = address6_beside(row, nic.address)
        Nic.objects.bulk_update(nics, ["address6"], batch_size=250)
        return True

    _change(network, by, change_ipv6)


def network_delete(*, network: Network, by: User) -> None:
    """Remove it, while no machine is in it. Raises Refused."""
    with transaction.atomic():
        row = networks_locked(network)
        if row.is_default:
            words = _(
                "New machines get this network where nobody chooses another: it can be renamed, but not deleted."
            )
            raise Refused(words)
        refuse_while_used(row, _("The network can be deleted only while no machine is in it"))
        record(Action.NETWORK_DELETED, by=by, about=of_network(row), details={"range": row.subnet})
        row.delete()
        transaction.on_commit(publish.networks_changed)
    log.info("network deleted", network=str(network.pk), by=by.pk)


def of_network(network: Network) -> tuple[ObjectKind, object, str]:
    """A network, for a line of the activity."""
    return (ObjectKind.NETWORK, network.pk, network.name)


def tell_machines(row: Network, by: User, machines: list[Machine]) -> None:
    """A new wish for each, so that its host applies what the network is now. A hibernated one hears of it when it wakes."""
    for machine in machines:
        if machine.observed != Observed.SAVED and machine.power not in (Power.SAVED, Power.GONE):
            change(machine, Kind.CHANGE, by)


def machines_locked(network: Network, **only: object) -> list[Machine]:
    """The machines in the network, locked before the network is. Raises Refused where a wish would overtake what one does."""
    inside = Machine.objects.filter(pk__in=Nic.objects.filter(network=network, **only).values("machine"))
    machines = list(inside.select_for_update(of=("self",)).select_related("host", "disc").order_by("pk"))
    for machine in machines:
        if machine.power != Power.GONE and (exclusive(machine) is not None or is_starting(machine)):
            words = _(
                "Something is under way for the machine “%(name)s”, which is in this network. "
                "Try again when that has ended. Nothing was changed."
            )
            raise Refused(words % {"name": machine.name})
    return machines


def refuse_while_used(network: Network, why: str, field: str | None = None, **only: object) -> None:
    """Raises Refused, naming some of the machines, where there are any."""
    names = list(
        Machine.objects.filter(nics__network=network, **{f"nics__{key}": value for key, value in only.items()})
        .distinct().order_by("name").values_list("name", flat=True)
    )  # fmt: skip
    if not names:
        return
    named = ", ".join(f"“{name}”" for name in names[:_MOST_NAMED])
    if len(names) > _MOST_NAMED:
        named = _("%(some)s and %(more)d more") % {"some": named, "more": len(names) - _MOST_NAMED}
    raise Refused(
        _("%(why)s. In it: %(machines)s. Nothing was changed.") % {"why": why, "machines": named}, field
    )


def proposed_subnet() -> str:
    """The first range that no network and no host has; empty where all are taken. Three queries."""
    private_network()  # it is there from the start, and has a range
    taken = [network.range for network in Network.objects.all() if network.range is not None]
    taken += [subnet for _host, _name, subnet in _ranges_of_hosts()]
    found = free_subnet(taken, IPv4Network(settings.PRIVATE_SUBNET))
    return str(found) if found else ""


def proposed_subnet6() -> str:
    """A range of its own by chance."""
    return str(random_subnet6())


def clean_name(raw: str) -> str:
    """A network's name: 1 to 63 visible characters. Raises Refused."""
    name = " ".join(unicodedata.normalize("NFC", raw).split())
    if not any(unicodedata.category(character)[0] in "LNSP" for character in name):
        raise Refused(_("The network needs a name."), "name")
    if len(name) > 63:
        raise Refused(_("A name has at most 63 characters."), "name")
    if any(unicodedata.category(character).startswith("C") for character in name):
        raise Refused(_("A name has visible characters only."), "name")
    return name


def _change(network: Network, by: User, act: Callable[[Network], bool]) -> None:
    """Do it with the network locked; where it says so, its machines are told."""
    with _quickest(), transaction.atomic():
        machines = machines_locked(network)
        row = networks_locked(network)
        if act(row):
            inside = set(row.nics.values_list("machine", flat=True))
            if inside != {machine.pk for machine in machines}:
                raise Refused(
                    _("Something changed at the same moment. Nothing was changed: please try again.")
                )
            tell_machines(row, by, machines)
        transaction.on_commit(publish.networks_changed)
        now = {"name": row.name, "range": row.subnet, "ipv6": row.subnet6}
        record(Action.NETWORK_CHANGED, by=by, about=of_network(row), details=now)
    log.info("network changed", network=str(network.pk), by=by.pk)


@contextmanager
def _quickest() -> Iterator[None]:
    """Somebody was quicker with the name: said in words."""
    try:
        yield
    except IntegrityError as exc:
        words = _("There is a network of this name already. Choose another name.")
        raise Refused(words, "name") from exc


def _refuse_name(name: str, row: Network | None) -> None:
    if _others(row).filter(name__iexact=name).exists():
        raise Refused(_("There is a network of this name already. Choose another name."), "name")


def _free(subnet: IPv4Network, row: Network | None) -> IPv4Network:
    for other in _others(row):
        if other.range is not None and other.range.overlaps(subnet):
            words = _("That range overlaps with the network “%(name)s” (%(range)s).")
            raise Refused(words % {"name": other.name, "range": other.range}, "subnet")
    for host, card, taken in _ranges_of_hosts():
        if taken.overlaps(subnet):
            words = _(
                "The host %(host)s itself is in the range %(range)s (%(card)s): "
                "machines there could not be told from its neighbours."
            )
            raise Refused(words % {"host": host, "range": taken, "card": card}, "subnet")
    return subnet


def _free6(subnet6: IPv6Network, row: Network | None) -> IPv6Network:
    for other in _others(row):
        if other.range6 is not None and other.range6.overlaps(subnet6):
            words = _("That range overlaps with the network “%(name)s” (%(range)s).")
            raise Refused(words % {"name": other.name, "range": other.range6}, "subnet6")
    return subnet6


def _others(row: Network | None) -> QuerySet[Network]:
    return Network.objects.exclude(pk=row.pk) if row else Network.objects.all()


def _ranges_of_hosts() -> list[tuple[str, str, IPv4Network]]:
    """Host, card and range of every address that a host has said it has. One query."""
    found = []
    for host in Host.objects.all():
        facts = host.host_facts
        for card in facts.interfaces if facts else ():
            for address in card.addresses:
                subnet = range_of(address)
                if subnet is not None and not subnet.is_loopback:
                    found.append((host.name, card.name, subnet))
    return found
