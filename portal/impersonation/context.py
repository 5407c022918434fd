"""What every page says while an administrator acts as somebody else."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from portal.audit.origin import BEHIND


def banner(request: HttpRequest) -> dict[str, Any]:
    """Who really sits there; no query, the session is loaded already."""
    session = getattr(request, "session", None)
    if session is None or session.session_key is None or BEHIND not in session:
        return {}
    return {"impersonated_by": session[BEHIND]["name"]}
