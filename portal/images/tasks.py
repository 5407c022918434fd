"""What is done for the library from time to time: parse, call a service."""

from __future__ import annotations

from celery import shared_task

from portal.images import checking, downloads


@shared_task(name="portal.check_images")
def check_images() -> None:
    """Have hosts look at the disk images that wait for it."""
    checking.go_on()


@shared_task(name="portal.go_on_with_downloads")
def go_on_with_downloads() -> None:
    """Carry out the downloads that are wanted and not under way."""
    downloads.go_on()
