"""Who has sent a request, where the gate lets only those in who said who they are."""

from __future__ import annotations

from django.http import HttpRequest

from portal.accounts.models import User


def user_of(request: HttpRequest) -> User:
    """The signed-in person; the gate lets nobody else come to what needs one."""
    if not isinstance(request.user, User):
        raise TypeError("a page that needs somebody was reached without signing in")
    return request.user
