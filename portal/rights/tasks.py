"""What time does with sharing: call a service."""

from __future__ import annotations

from celery import shared_task

from portal.rights import sharing


@shared_task(name="portal.end_shares")
def end_shares() -> None:
    """End what is open of machines that are shared no longer."""
    sharing.shares_end()
