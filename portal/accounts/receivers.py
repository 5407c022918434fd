"""What else happens when somebody signs out, or when a password becomes another one."""

from __future__ import annotations

from typing import Any

from allauth.account import signals
from allauth.account.adapter import get_adapter
from allauth.usersessions.models import UserSession
from django.contrib.auth.signals import user_logged_out
from django.dispatch import receiver
from django.http import HttpRequest

from portal.accounts import sessions
from portal.accounts.models import User
from portal.live import publish


@receiver(user_logged_out)
def signed_out(request: HttpRequest, **_words: Any) -> None:
    """The session's consoles and live pages close."""
    key = request.session.session_key
    if key:
        UserSession.objects.filter(session_key=key).delete()
        publish.session_ended(key)


@receiver(signals.password_changed)
@receiver(signals.password_set)
def password_changed(request: HttpRequest, user: User, **_words: Any) -> None:
    """Everywhere else the person is signed out."""
    sessions.end_all(user=user, but=request.session.session_key)


@receiver(signals.password_reset)
def password_reset(request: HttpRequest, user: User, **_words: Any) -> None:
    """Everywhere, and wrong passwords of before are forgotten where the person is now."""
    sessions.end_all(user=user)
    get_adapter().forget_tries(request, user.get_username())
