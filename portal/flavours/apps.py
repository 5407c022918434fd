"""Django's name for this folder."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class FlavoursConfig(AppConfig):
    """See the folder's docstring. A database without any size gets those to begin with."""

    name = "portal.flavours"

    def ready(self) -> None:
        """Looked at after each migration, and so in a new installation too."""
        post_migrate.connect(_to_begin_with, sender=self)


def _to_begin_with(using: str, **_: Any) -> None:
    from portal.flavours.services import ensure_flavours  # noqa: PLC0415  models are there only now

    ensure_flavours(using)
