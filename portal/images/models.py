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


class DownloadState(models.TextChoices):
    """`failed` and `paused` keep what has arrived."""

    RUNNING = "running", _("Downloading")
    PAUSED = "paused", _("Paused")
    FAILED = "failed", _("Failed")


class Download(models.Model):
    """A file of the catalogue on its way in, and no longer: its image then has its id.

    `digest` is what its makers publish; sizes in bytes, 0: not known yet.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    key = models.CharField(max_length=40, unique=True, help_text="of the catalogue's entry")
    name = models.CharField(max_length=120)
    state = models.CharField(max_length=8, default=DownloadState.RUNNING, choices=DownloadState.choices)
    problem = models.TextField(blank=True)
    file_name = models.CharField(max_length=200, blank=True)
    digest = models.CharField(max_length=128, blank=True)
    validator = models.CharField(max_length=200, blank=True, help_text="what names this version of the file")
    size_bytes = models.BigIntegerField(default=0)
    offset_bytes = models.BigIntegerField(default=0)
    breaks = models.PositiveIntegerField(default=0, help_text="in a row, without a byte between them")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    started_at = models.DateTimeField(auto_now_add=True)
    touched_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["started_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.offset_bytes} of {self.size_bytes})"

    @property
    def path(self) -> Path:
        """Where the bytes that have arrived lie."""
        return Path(settings.UPLOAD_DIR) / f"{self.id}.download"

    @property
    def percent(self) -> int:
        """Of the whole, as far as that is known."""
        return min(100, 100 * self.offset_bytes // self.size_bytes) if self.size_bytes else 0


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
