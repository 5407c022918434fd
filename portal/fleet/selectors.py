"""Reading the fleet."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from portal.fleet.models import Host
from portal.fleet.placement import Candidate
from portal.networks.models import Uplink
from workers.contract.messages import Observed
from workers.contract.spec import Power


def hosts_all() -> QuerySet[Host]:
    """Every host that ever reported, with `machine_count`."""
    # Counted beside the rows: a join would group by every column, the host's long facts too.
    counted = Host.objects.filter(pk=OuterRef("pk")).order_by().values("pk").annotate(n=Count("machines"))
    return Host.objects.annotate(machine_count=Subquery(counted.values("n"))).order_by("name")


def hosts_alive() -> QuerySet[Host]:
    """The hosts whose worker was heard within the limit."""
    limit = timezone.now() - timedelta(seconds=settings.HOST_SILENT_SECONDS)
    return Host.objects.filter(last_seen__gte=limit)


def candidates(*, networks: frozenset[UUID] = frozenset()) -> list[Candidate]:
    """The living hosts as placement sees them, less the memory that their machines were promised.

    One query; one more for which of them are connected to the bridged `networks`.
    """
    connected: dict[int, set[UUID]] = {}
    if networks:
        for host_id, network_id in Uplink.objects.filter(network__in=networks).values_list("host", "network"):
            connected.setdefault(host_id, set()).add(network_id)
    # A hibernated machine takes none.
    is_wanted = Q(machines__power__in=(Power.RUNNING, Power.PAUSED))
    is_to_come = is_wanted & ~Q(machines__observed__in=(Observed.RUNNING, Observed.PAUSED))
    # What a machine can be given while it runs counts as promised from the start.
    most = Coalesce("machines__memory_most_mib", "machines__memory_mib")
    wanted = Sum(most, filter=is_wanted, default=0)
    to_come = Sum(most, filter=is_to_come, default=0)
    found = []
    for host in hosts_alive().annotate(wanted=wanted, to_come=to_come):
        facts = host.host_facts
        if facts is None:
            continue
        # A guest takes its memory as it uses it: what a running one has left is free to the host, but not to give.
        not_promised_mib = host.memory_total_mib - host.wanted
        found.append(
            Candidate(
                host_id=host.pk,
                name=host.name,
                threads=facts.cpu.threads,
                memory_free_mib=max(0, min(host.memory_free_mib - host.to_come, not_promised_mib)),
                disk_free_mib=host.disk_free_mib,
                missing=frozenset(facts.missing_features),
                pools={pool["name"]: pool["free_mib"] for pool in host.pools if not pool["problem"]},
                networks=frozenset(connected.get(host.pk, ())),
                facts=facts,
            )
        )
    return found


def pools_alive() -> dict[str, int]:
    """The pools that some living host can use, each with the most free room that any has in it (MiB). One query."""
    found: dict[str, int] = {}
    for pools in hosts_alive().values_list("pools", flat=True):
        for pool in pools:
            if not pool["problem"]:
                found[pool["name"]] = max(found.get(pool["name"], 0), pool["free_mib"])
    return dict(sorted(found.items()))
