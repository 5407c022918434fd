"""Is all of it working? For the launcher, a load balancer or a monitor."""

from __future__ import annotations

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from portal.fleet.models import Host


@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """200 where database and broker answer, else 503. Names of hosts are told to this very machine only."""
    parts = {"database": _database(), "broker": _broker()}
    well = all(parts.values())
    answer: dict[str, object] = {"ok": well, **parts}
    near = request.META.get("REMOTE_ADDR") in (None, "", "127.0.0.1", "::1")
    if near and "X-Forwarded-For" not in request.headers and parts["database"]:
        hosts = list(Host.objects.all())
        answer["hosts"] = {host.name: not host.is_silent for host in hosts}
        starts = {host.name: host.worker_started for host in hosts}
        answer["workers_started"] = {name: int(at.timestamp()) for name, at in starts.items() if at}
    return JsonResponse(answer, status=200 if well else 503)


def _database() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True


def _broker() -> bool:
    client = redis.Redis.from_url(
        settings.BROKER_URL.replace("redis+socket://", "unix://"), socket_timeout=1, socket_connect_timeout=1
    )
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()
