"""What time does with requests: call a service."""

from __future__ import annotations

from celery import shared_task

from portal.requests import services


@shared_task(name="portal.expire_requests")
def expire_requests() -> None:
    """End what nobody has decided in time."""
    services.requests_expire()
