"""Signing in and out as Django's signals tell of it, whichever page was used."""

from __future__ import annotations

from typing import Any

from allauth.account.signals import password_changed, password_reset, password_set
from allauth.mfa.signals import authenticator_added, authenticator_removed, authenticator_reset
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from portal.accounts.models import User
from portal.audit.actions import Action, Result
from portal.audit.origin import of_request, with_session
from portal.audit.services import of_person, record


@receiver(user_logged_in)
def signed_in(request: HttpRequest | None, user: User, **_words: Any) -> None:
    """With the session that was begun by it."""
    if request is not None:
        origin = with_session(of_request(request), request.session.session_key)
        record(Action.SIGN_IN, by=user, about=of_person(user), origin=origin)


@receiver(user_logged_out)
def signed_out(request: HttpRequest | None, user: User | None, **_words: Any) -> None:
    """Of somebody who was signed in."""
    if isinstance(user, User):
        record(
            Action.SIGN_OUT, by=user, about=of_person(user), origin=of_request(request) if request else None
        )


@receiver(user_login_failed)
def failed(credentials: dict[str, Any], request: HttpRequest | None = None, **_words: Any) -> None:
    """Nobody's doing until it is known whose. A name that is no account's is not kept: it may be a password."""
    user = User.objects.filter(username=str(credentials.get("username", ""))).first()
    about = of_person(user) if user else None
    record(
        Action.SIGN_IN_FAILED,
        about=about,
        result=Result.FAILED,
        origin=of_request(request) if request is not None else None,
    )


@receiver(authenticator_added)
@receiver(authenticator_removed)
@receiver(authenticator_reset)
def second_factor(request: HttpRequest, user: User, authenticator: Any, signal: Any, **_words: Any) -> None:
    """By the person themselves."""
    what = {id(authenticator_added): "added", id(authenticator_removed): "removed"}.get(
        id(signal), "made anew"
    )
    details = {"what": what, "kind": authenticator.type}
    record(Action.SECOND_FACTOR, by=user, about=of_person(user), origin=of_request(request), details=details)


def turned_away(request: HttpRequest, name: str) -> None:
    """Wrong too often: the password was not even looked at."""
    user = User.objects.filter(username=name).first()
    about = of_person(user) if user else None
    record(Action.SIGN_IN_FAILED, about=about, result=Result.REFUSED, origin=of_request(request))


@receiver(password_changed)
@receiver(password_set)
@receiver(password_reset)
def has_a_new_password(request: HttpRequest, user: User, **_words: Any) -> None:
    """Chosen by the person, signed in or by a link."""
    record(Action.PASSWORD_CHANGED, by=user, about=of_person(user), origin=of_request(request))
