"""What every page knows of requests, for its navigation."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from portal.requests.selectors import waiting_for


def navigation(request: HttpRequest) -> dict[str, Any]:
    """How many requests wait for the person to decide. One query for who decides, none for others."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated or not user.is_approver:
        return {"requests_waiting_count": 0}
    return {"requests_waiting_count": waiting_for(user).count()}
