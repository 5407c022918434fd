"""The entry of every request and WebSocket."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
_http = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402  models load only after the line above
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import OriginValidator  # noqa: E402
from django.conf import settings  # noqa: E402
from django.urls import path  # noqa: E402

from portal.body_limit import BodyLimit  # noqa: E402
from portal.console.consumers import ConsoleConsumer  # noqa: E402
from portal.live.consumers import LiveConsumer  # noqa: E402

websocket_routes = [
    path("ws/live/", LiveConsumer.as_asgi(), name="live"),
    path("ws/console/<uuid:machine_id>/", ConsoleConsumer.as_asgi(), name="console"),
]

application = ProtocolTypeRouter(
    {
        "http": BodyLimit(_http, settings.LARGEST_BODY_BYTES),
        "websocket": OriginValidator(
            AuthMiddlewareStack(URLRouter(websocket_routes)), settings.WEBSOCKET_ORIGINS
        ),
    }
)
