"""The fleet's periodic task."""

from __future__ import annotations

from celery import shared_task

from portal.fleet import services


@shared_task(name="portal.notice_hosts")
def notice_hosts() -> None:
    """Tell the pages of hosts that went silent."""
    services.silence_notice()
