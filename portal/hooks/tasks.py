"""Web hooks, from time to time: parse, call a service."""

from __future__ import annotations

from celery import shared_task

from portal.hooks import delivering, services


@shared_task(name="portal.tell_hooks")
def tell_hooks() -> None:
    """Send what waits."""
    delivering.deliver_in_threads()


@shared_task(name="portal.clear_hooks")
def clear_hooks() -> None:
    """Remove what is over for long."""
    services.clear_old()
