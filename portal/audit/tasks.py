"""What is done for the activity from time to time: parse, call a service."""

from __future__ import annotations

from celery import shared_task

from portal.audit import chain, checking


@shared_task(name="portal.chain_activity")
def chain_activity() -> None:
    """Chain what a process that died left without a place."""
    chain.extend()


@shared_task(name="portal.check_activity")
def check_activity() -> None:
    """Walk the chain; administrators hear of it when something new is wrong."""
    checking.check_and_tell()
