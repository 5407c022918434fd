"""The post, from time to time: parse, call a service."""

from __future__ import annotations

from celery import shared_task

from portal.notices import post, services


@shared_task(name="portal.send_letters")
def send_letters() -> None:
    """Hand letters that wait to the mail server."""
    post.send_in_a_thread()


@shared_task(name="portal.clear_notices")
def clear_notices() -> None:
    """Remove what is old."""
    services.clear_old()
