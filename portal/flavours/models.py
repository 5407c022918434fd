"""The sizes that are offered for new machines."""

from __future__ import annotations

from django.db import models


class Flavour(models.Model):
    """A size: a starting point, each part of which a person can change. `key` is what forms and wishes say."""

    key = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=63)
    description = models.CharField(max_length=200, blank=True)
    cpus = models.PositiveSmallIntegerField()
    memory_mib = models.PositiveIntegerField()
    disk_gib = models.PositiveIntegerField()
    position = models.PositiveSmallIntegerField(default=0)
    is_hidden = models.BooleanField(default=False, help_text="offered to nobody; nothing else changes")
    needs_approval = models.BooleanField(default=False)

    class Meta:
        ordering = ["position", "pk"]

    def __str__(self) -> str:
        return self.name
