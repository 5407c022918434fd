"""What time does with machines: call a service."""

from __future__ import annotations

from celery import shared_task

from portal.leases import idling, scheduling, walk


@shared_task(name="portal.walk_leases")
def walk_leases() -> None:
    """Reminders, ends, deletions; and what schedules are due for."""
    walk.leases_walk()
    scheduling.schedules_run()


@shared_task(name="portal.find_idle")
def find_idle() -> None:
    """Point out machines that do nothing."""
    idling.idle_find()
