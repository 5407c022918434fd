"""What every page knows of the fleet, for its navigation."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from portal.fleet.models import Host


def navigation(request: HttpRequest) -> dict[str, Any]:
    """Whether a host is silent (for those who see hosts). One query for them, none for others."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated or not user.is_auditor:
        return {"hosts_silent_count": 0}
    return {"hosts_silent_count": sum(host.is_silent for host in Host.objects.only("last_seen"))}
