"""Installation discs in the library, and uploads on their way into it."""

from __future__ import annotations

import uuid
from pathlib import Path

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class ImageKind(models.TextChoices):
    """What an image is for: a disc for the drive, or a disk that a machine begins with."""

    DISC = "disc", _("Installation disc")
    DISK = "disk", _("Disk image")


class ImageState(models.TextChoices):
    """A disc is ready at once; a disk image is looked at by a host first."""

    READY = "ready", _("Ready")
    CHECKING = "checking", _("Being checked")
    REFUSED = "refused", _("Refused")


class Image(models.Model):
    """A file of the library, named after its id, never after what a person typed. Only a READY one is offered."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120, unique=True)
    volume_label = models.CharField(max_length=64, blank=True)
    kind = models.CharField(max_length=4, default=ImageKind.DISC, choices=ImageKind.choices)
    state = models.CharField(max_length=8, default=ImageState.READY, choices=ImageState.choices)
    problem = models.TextField(blank=True, help_text="what a host found, where it was refused")
    system = models.CharField(max_length=60, blank=True, help_text="the operating system's name")
    version = models.CharField(max_length=40, blank=True)
    is_cloud = models.BooleanField(default=False, help_text="it reads a seed at its first start (cloud-init)")
    format = models.CharField(max_length=12, blank=True, help_text="as it was found: qcow2, vmdk, …")
    virtual_bytes = models.BigIntegerField(default=0, help_text="the size of the disk in it")
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

    @property
    def least_gib(self) -> int:
        """The smallest whole number of GiB that a disk needs to begin as this image."""
        return -(-self.virtual_bytes // 1024**3)


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
