"""Hosts, as they report themselves."""

from __future__ import annotations

import json
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone

from workers.contract.host import HostFacts, KvmAnswer


class Host(models.Model):
    """One Linux server with a worker. It enters itself with its first heartbeat."""

    name = models.CharField(max_length=63, unique=True)
    gateway = models.CharField(max_length=255)
    facts = models.JSONField(default=dict)
    memory_total_mib = models.PositiveIntegerField(default=0)
    memory_free_mib = models.PositiveIntegerField(default=0)
    disk_total_mib = models.PositiveIntegerField(default=0)
    disk_free_mib = models.PositiveIntegerField(default=0)
    load = models.FloatField(default=0)
    pools = models.JSONField(default=list, help_text="folders for disks, as the host tells of them")
    backup_places = models.JSONField(default=list)
    repairs = models.JSONField(default=list, help_text="what its check of the networks put right last")
    sequence = models.BigIntegerField(default=0)
    worker_started = models.DateTimeField(null=True)
    last_seen = models.DateTimeField(null=True)
    shown_silent = models.BooleanField(
        default=False, help_text="the pages have been told that it went silent"
    )
    refused_version = models.CharField(max_length=40, blank=True, help_text="a contract that we do not speak")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def is_silent(self) -> bool:
        """No heartbeat for longer than a healthy worker ever leaves between two."""
        limit = timezone.now() - timedelta(seconds=settings.HOST_SILENT_SECONDS)
        return self.last_seen is None or self.last_seen < limit

    @property
    def host_facts(self) -> HostFacts | None:
        """What the host can do; None until the first heartbeat of this contract."""
        return HostFacts.model_validate_json(json.dumps(self.facts)) if self.facts else None

    @property
    def is_emulated(self) -> bool:
        """Machines here run under TCG: KVM was tried and does not work."""
        facts = self.host_facts
        return facts is not None and facts.kvm is not None and facts.kvm.answer is not KvmAnswer.WORKS

    @property
    def memory_used_percent(self) -> int:
        """How much of the memory is taken, for a bar."""
        return _used(self.memory_free_mib, self.memory_total_mib)

    @property
    def disk_used_percent(self) -> int:
        """How much of the disk is taken, for a bar."""
        return _used(self.disk_free_mib, self.disk_total_mib)


def _used(free: int, total: int) -> int:
    return round(100 * (total - free) / total) if total else 0
