"""Writing down what hosts say of themselves."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog
from django.db import transaction
from django.utils import timezone

from portal.fleet.models import Host
from portal.fleet.selectors import hosts_alive
from portal.live import publish
from portal.networks.uplinks import connect_made
from workers.contract.messages import Heartbeat

log = structlog.get_logger()


def heartbeat_take(beat: Heartbeat) -> bool:
    """Write down a heartbeat; False where a newer one of this host is known already."""
    Host.objects.get_or_create(name=beat.host, defaults={"gateway": beat.gateway})
    now = timezone.now()
    with transaction.atomic():
        host = Host.objects.select_for_update().get(name=beat.host)
        if host.sequence >= beat.sequence:
            return False
        news = (
            host.is_silent or host.refused_version != "" or host.facts != beat.facts.model_dump(mode="json")
        )
        moved = abs(host.memory_free_mib - beat.usage.memory_free_mib) > host.memory_total_mib // 100
        Host.objects.filter(pk=host.pk, sequence__lt=beat.sequence).update(
            sequence=beat.sequence,
            gateway=beat.gateway,
            facts=beat.facts.model_dump(mode="json"),
            memory_total_mib=beat.usage.memory_total_mib,
            memory_free_mib=beat.usage.memory_free_mib,
            disk_total_mib=beat.usage.disk_total_mib,
            disk_free_mib=beat.usage.disk_free_mib,
            load=beat.usage.load,
            pools=[pool.model_dump(mode="json") for pool in beat.usage.pools],
            backup_places=[place.model_dump(mode="json") for place in beat.usage.backup_places],
            repairs=[repair.model_dump(mode="json") for repair in beat.usage.repairs],
            worker_started=datetime.fromtimestamp(beat.started, UTC),
            last_seen=now,
            shown_silent=False,
            refused_version="",
        )
        if news or moved:
            transaction.on_commit(publish.fleet_changed)
        if news:
            _tell_machines_of(host)
            transaction.on_commit(publish.networks_changed)
            host.refresh_from_db(fields=["facts"])
            connect_made(host)
    return True


def silence_notice() -> list[str]:
    """Tell the pages of hosts that went silent since the last call; their names."""
    silent = Host.objects.filter(shown_silent=False, last_seen__isnull=False).exclude(pk__in=hosts_alive())
    names = []
    for host in silent:
        if Host.objects.filter(pk=host.pk, shown_silent=False, last_seen=host.last_seen).update(
            shown_silent=True
        ):
            log.warning("host silent", host=host.name)
            names.append(host.name)
            _tell_machines_of(host)
    if names:
        publish.fleet_changed()
    return names


def _tell_machines_of(host: Host) -> None:
    for machine_id in host.machines.values_list("pk", flat=True):
        transaction.on_commit(lambda machine_id=machine_id: publish.machine_changed(machine_id))  # type: ignore[misc]
