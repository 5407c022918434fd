"""The sizes that are offered; a flavour is a starting point, each part of it can be changed."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True)
class Flavour:
    """A size: CPUs, memory in MiB, disk in GiB."""

    key: str
    name: str | Promise
    cpus: int
    memory_mib: int
    disk_gib: int
    description: str | Promise


FLAVOURS = (
    Flavour("small", _("Small"), 1, 1024, 10, _("A text system, a small service")),
    Flavour("medium", _("Medium"), 2, 2048, 20, _("A server for a few people, a light desktop")),
    Flavour("large", _("Large"), 4, 8192, 64, _("A desktop, a database, builds")),
)
CUSTOM = "custom"


def flavour(key: str) -> Flavour | None:
    """The flavour of this key; None for a custom size."""
    return next((flavour for flavour in FLAVOURS if flavour.key == key), None)
