"""Is a session that a socket was opened with still good? Sockets outlive requests, so they ask again."""

from __future__ import annotations

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from portal.accounts.models import User


def session_is_valid(session_key: str, user: User) -> bool:
    """It was not signed out, has not run out, and the password is still the one that it was opened with. One query."""
    session = Session.objects.filter(session_key=session_key, expire_date__gt=timezone.now()).first()
    if session is None:
        return False
    data = session.get_decoded()
    acting = data.get("impersonated_by")
    if (
        acting and acting["until"] <= timezone.now().timestamp()
    ):  # the hour of who acts as somebody else is over
        return False
    same_person = data.get(SESSION_KEY) == str(user.pk)
    return same_person and constant_time_compare(data.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash())
