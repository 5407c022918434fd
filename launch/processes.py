"""The processes of an installation: what is run, and as whom. The container images run the same commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from launch.installation import PORTAL_ACCOUNT, Installation


@dataclass(frozen=True)
class Process:
    """`account` is None for root: the host's worker, and the gateway, which gives root up by itself.

    `environment` is all that the process gets. `nice` is its place among those that want the processor (nice(2)).
    """

    name: str
    argv: tuple[str, ...]
    account: str | None
    environment: Mapping[str, str]
    nice: int = 0


WEB_NICE = -20
"""Somebody waits for a page while machines want every processor there is; a page needs one for milliseconds."""

NICE = -15
"""What everything else of ours runs with: a host whose machines take every processor is still heard of and obeyed.

With a place like any other's it shares with fifty busy machines and gets a fiftieth; each step is worth a quarter (sched(7)).
"""


WEB = ("-m", "portal.serve")
PORTAL_WORKER = (
    *("-m", "celery", "-A", "portal.celery", "worker", "--queues", "portal", "--hostname", "portal"),
    *(
        "--pool",
        "threads",
        "--concurrency",
        "4",
        "--without-mingle",
        "--without-gossip",
        "--loglevel",
        "WARNING",
    ),
)
BEAT = ("-m", "celery", "-A", "portal.celery", "beat", "--pidfile=", "--loglevel", "WARNING")
GATEWAY = ("-m", "workers.gateway")


def host_worker(host: str) -> tuple[str, ...]:
    """The worker of one host, on that host's own queue."""
    return (
        *("-m", "celery", "-A", "workers.celery", "worker", "--queues", f"host.{host}", "--hostname", host),
        *("--pool", "threads", "--concurrency", "64", "--without-mingle", "--without-gossip"),
        *("--loglevel", "WARNING"),
    )


def redis_process(place: Installation) -> Process:
    """A Redis of our own: no TCP port, and what is queued survives a power cut."""
    argv = (
        *("redis-server", "--port", "0", "--unixsocket", str(place.redis_socket), "--unixsocketperm", "700"),
        *("--dir", str(place.redis_socket.parent), "--appendonly", "yes", "--save", ""),
        *("--daemonize", "no", "--maxmemory-policy", "noeviction"),
    )
    return Process("redis", argv, PORTAL_ACCOUNT, place.portal_environment(), NICE)


def host_processes(place: Installation) -> tuple[Process, ...]:
    """What runs on every host."""
    environment = place.host_environment()
    return (
        Process("host-worker", (place.python, *host_worker(place.host_name)), None, environment, NICE),
        Process("gateway", (place.python, *GATEWAY), None, environment, NICE),
    )


def portal_processes(place: Installation) -> tuple[Process, ...]:
    """What makes the site."""
    environment = place.portal_environment()
    return (
        Process("web", (place.python, *WEB), PORTAL_ACCOUNT, environment, WEB_NICE),
        Process("portal-worker", (place.python, *PORTAL_WORKER), PORTAL_ACCOUNT, environment, NICE),
        Process("beat", (place.python, *BEAT), PORTAL_ACCOUNT, environment, NICE),
    )
