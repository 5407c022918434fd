"""What time does with quotas: call a service."""

from __future__ import annotations

from celery import shared_task

from portal.quotas import ending


@shared_task(name="portal.end_quotas")
def end_quotas() -> None:
    """Say what ends soon, and what is over."""
    ending.quotas_end()
