"""What is done for the library from time to time: parse, call a service."""

from __future__ import annotations

from celery import shared_task

from portal.images import checking


@shared_task(name="portal.check_images")
def check_images() -> None:
    """Have hosts look at the disk images that wait for it."""
    checking.go_on()
