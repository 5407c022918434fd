"""What every page knows of notices: how many are unread."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from portal.notices.selectors import unread_count


def bell(request: HttpRequest) -> dict[str, Any]:
    """The number at the bell. One query, and only where a page draws it."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {}
    return {"notices_unread": lambda: unread_count(user)}
