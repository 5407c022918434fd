"""Exported machines: files that a host has sent, or is just sending."""

from __future__ import annotations

import uuid
from pathlib import Path

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class Format(models.TextChoices):
    """What the file is."""

    QCOW2 = "qcow2", _("Disk image (qcow2)")
    OVA = "ova", _("Appliance (OVA)")


class Export(models.Model):
    """A machine as a file. `received_bytes` is what has arrived and was compared; it is ready when the host said so."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    machine = models.ForeignKey("machines.Machine", on_delete=models.CASCADE, related_name="exports")
    format = models.CharField(max_length=5, choices=Format.choices)
    file_name = models.CharField(max_length=100)
    asked_at = models.DateTimeField(auto_now_add=True)
    received_bytes = models.BigIntegerField(default=0)
    size_bytes = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    is_ready = models.BooleanField(default=False)
    expires_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-asked_at"]

    def __str__(self) -> str:
        return self.file_name

    @property
    def path(self) -> Path:
        """Where the bytes lie, named after the id."""
        return Path(settings.EXPORT_DIR) / str(self.id)
