"""Ending sessions, and with each the consoles and live pages that were opened in it."""

from __future__ import annotations

from allauth.usersessions.models import UserSession
from django.db import transaction

from portal.accounts.models import User
from portal.live import publish


def end(session: UserSession) -> None:
    """This one."""
    key = session.session_key
    session.end()
    transaction.on_commit(lambda: publish.session_ended(key))


def end_all(*, user: User, but: str | None = None) -> int:
    """Every session of a person, or every one but that with the key `but`; how many. A query and three more each."""
    ended = list(UserSession.objects.filter(user=user).exclude(session_key=but))
    for session in ended:
        end(session)
    return len(ended)
