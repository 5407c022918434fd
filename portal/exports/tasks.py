"""The periodic task of exports."""

from __future__ import annotations

from celery import shared_task

from portal.exports import services


@shared_task(name="portal.clear_exports")
def clear_exports() -> None:
    """Remove what is too old."""
    services.clear_exports()
