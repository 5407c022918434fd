"""Installation discs in the library, and uploads on their way into it."""

from __future__ import annotations

import uuid
from pathlib import Path

from django.conf import settings
from django.db import models


class Image(models.Model):
    """A checked ISO 9660 image. Its file is named after its id, never after what a person typed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120, unique=True)
    volume_label = models.CharField(max_length=64, blank=True)
    size_bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    added_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    added_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        """Where the portal keeps the file."""
        return Path(settings.LIBRARY_DIR) / f"{self.id}.iso"


class Upload(models.Model):
    """A file on its way in: how long it shall be and how much of it has arrived, both in bytes."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    name = models.CharField(max_length=120)
    length_bytes = models.BigIntegerField()
    offset_bytes = models.BigIntegerField(default=0)
    started_at = models.DateTimeField(auto_now_add=True)
    touched_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.offset_bytes} of {self.length_bytes})"

    @property
    def path(self) -> Path:
        """Where the bytes that have arrived lie."""
        return Path(settings.UPLOAD_DIR) / f"{self.id}.part"
