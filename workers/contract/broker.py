"""How both sides speak to the broker."""

from __future__ import annotations

TRANSPORT_OPTIONS = {
    "socket_connect_timeout": 2,
    "socket_timeout": 10,
    # kombu's transport would otherwise try for some six seconds by itself, whatever a publisher says.
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
}
"""kombu's settings for Redis; times in seconds."""
