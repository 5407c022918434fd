"""The periodic task of backups."""

from __future__ import annotations

from celery import shared_task

from portal.backups import services


@shared_task(name="portal.run_backup_plans")
def run_backup_plans() -> None:
    """Begin what plans are due for."""
    services.plans_run_due()
    services.clear_forgotten()
