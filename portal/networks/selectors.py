"""Reading networks: what people may choose, what administrators manage, and how hosts are connected."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery

from portal.accounts.models import User
from portal.activity.models import Operation
from portal.activity.words import ShownOperation, shown
from portal.fleet.models import Host
from portal.machines.models import Machine
from portal.machines.selectors import machines_for
from portal.networks.models import Network, Uplink
from portal.networks.uplinks import BRIDGE_KINDS, bridges_of, card_of, cards_of
from portal.networks.words import KINDS, KindWords
from portal.quotas.models import NetworkToAskFor
from portal.rights.scope import level_everywhere
from workers.contract.host import InterfaceFacts
from workers.contract.networks import NetworkKind


@dataclass(frozen=True)
class OfferedNetwork:
    """A network as a form offers it."""

    id: UUID
    name: str
    words: KindWords
    is_usable: bool
    """Some host is connected to it, or it needs no connection."""
    needs_approval: bool = False


@dataclass(frozen=True)
class ListedNetwork:
    """A row of the list; how many machines of the person who looks are in it, of all for an administrator."""

    row: Network
    words: KindWords
    machine_count: int
    uplink_count: int


@dataclass(frozen=True)
class BridgeWork:
    """What a host was last asked to do with a bridge, and with which card or bridge."""

    operation: ShownOperation
    card: str


@dataclass(frozen=True)
class HostUplink:
    """A host as a bridged network's page shows it."""

    host: Host
    bridge: str
    bridges: tuple[InterfaceFacts, ...]
    cards: tuple[InterfaceFacts, ...]
    work: BridgeWork | None

    @property
    def is_missing(self) -> bool:
        """It is connected by a bridge that it does not have."""
        return bool(self.bridge) and self.bridge not in {each.name for each in self.bridges}


def networks_offered() -> list[OfferedNetwork]:
    """What a card can be plugged into, the default first. One query."""
    connected = Exists(Uplink.objects.filter(network=OuterRef("pk")))
    marked = Exists(NetworkToAskFor.objects.filter(network=OuterRef("pk")))
    rows = Network.objects.annotate(is_connected=connected, is_marked=marked)
    return [
        OfferedNetwork(
            row.pk,
            row.name,
            words_of(row),
            row.kind != NetworkKind.BRIDGED or bool(row.is_connected),
            bool(row.is_marked),
        )
        for row in rows.order_by("-is_default", "name")
    ]


def networks_listed(user: User) -> list[ListedNetwork]:
    """Every network with what the person has in it. One query."""
    mine = Q() if level_everywhere(user) else Q(nics__machine__in=machines_for(user).order_by().values("pk"))
    rows = Network.objects.annotate(
        machine_count=Count("nics__machine", filter=mine, distinct=True),
        uplink_count=Count("uplinks", distinct=True),
    ).order_by("-is_default", "name")
    return [ListedNetwork(row, words_of(row), row.machine_count, row.uplink_count) for row in rows]


def machines_in(network: Network) -> QuerySet[Machine]:
    """The machines with a card in it."""
    inside = Machine.objects.filter(nics__network=network).distinct()
    return (
        inside.select_related("owner", "team").only("name", "owner__username", "team__name").order_by("name")
    )


def uplinks_of(network: Network) -> list[HostUplink]:
    """Every host, and how it is connected to the network. Three queries."""
    connected = dict(network.uplinks.values_list("host", "bridge"))
    hosts = list(Host.objects.order_by("name"))
    work = bridge_work(hosts)
    return [
        HostUplink(
            host=host,
            bridge=connected.get(host.pk, ""),
            bridges=tuple(bridges_of(host)),
            cards=tuple(cards_of(host)),
            work=work.get(host.pk),
        )
        for host in hosts
    ]


def bridge_work(hosts: Iterable[Host]) -> dict[int, BridgeWork]:
    """What each host was last asked to do with a bridge, by the host's id. One query."""
    of_bridges = Operation.objects.filter(kind__in=BRIDGE_KINDS)
    newest = of_bridges.filter(host=OuterRef("host")).order_by("-created_at").values("pk")[:1]
    rows = of_bridges.filter(host__in=list(hosts), pk=Subquery(newest)).select_related("requested_by")
    return {row.host_id: BridgeWork(shown(row), card_of(row)) for row in rows if row.host_id is not None}


def networks_by_bridge(host: Host) -> dict[str, list[str]]:
    """The names of the networks that the host is connected to, by its bridge. One query."""
    found: dict[str, list[str]] = {}
    for bridge, name in host.uplinks.order_by("network__name").values_list("bridge", "network__name"):
        found.setdefault(bridge, []).append(name)
    return found


def words_of(network: Network) -> KindWords:
    """Its kind in words."""
    return KINDS[NetworkKind(network.kind)]
