"""Networks that machines are plugged into."""

from __future__ import annotations

import uuid
from ipaddress import IPv4Network

from django.db import models


class Network(models.Model):
    """A NAT network: on every host the same private subnet behind that host's address."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=63, unique=True)
    subnet = models.CharField(max_length=18)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def range(self) -> IPv4Network:
        """The subnet as an address range."""
        return IPv4Network(self.subnet)
