"""The way from the portal to a machine's screen: a WebSocket to the gateway of its host."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.typing import Subprotocol

from workers.contract.tokens import Purpose, issue

_FRAME_BYTES = 16 * 1024 * 1024


async def open_screen(gateway: str, machine_id: UUID) -> ClientConnection:
    """Connect to the gateway at `unix:/path` or `ws://address:port` with a token for this machine.

    Raises OSError or websockets' exceptions where host, gateway or machine cannot be reached.
    The library holds at most four frames; then it stops reading, so a slow browser slows the machine's side.
    """
    headers = {
        "Authorization": f"Bearer {issue(key=settings.FLEET_KEY, purpose=Purpose.CONSOLE, subject=str(machine_id))}"
    }
    binary = [Subprotocol("binary")]
    if gateway.startswith("unix:"):
        return await unix_connect(
            gateway.removeprefix("unix:"),
            uri="ws://gateway/",
            additional_headers=headers,
            subprotocols=binary,
            compression=None,
            max_size=_FRAME_BYTES,
            max_queue=4,
            open_timeout=5,
        )
    return await connect(
        gateway,
        additional_headers=headers,
        subprotocols=binary,
        compression=None,
        max_size=_FRAME_BYTES,
        max_queue=4,
        open_timeout=5,
    )
