"""Pictures of machines' screens: asked for by the portal while somebody looks, a minute apart."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from workers.contract.messages import HostName
from workers.contract.version import Message

TASK_LOOK_AT_SCREENS = "offshoot.look_at_screens"
TASK_SCREEN = "offshoot.screen"
SCREEN_SECONDS = 60
"""A machine's screen is looked at so often at most."""

MOST_SCREENS = 100
MOST_PNG_BYTES = 200_000
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
"""PNG specification, 5.2."""

_MOST_BASE64 = (MOST_PNG_BYTES + 2) // 3 * 4


class LookAtScreens(Message):
    """Portal to host: somebody looks at these machines; worth nothing half a minute later."""

    machines: tuple[UUID, ...] = Field(min_length=1, max_length=MOST_SCREENS)


class ScreenSeen(Message):
    """Host to portal: what a machine's screen showed at `at` (Unix seconds), as a PNG in base64."""

    host: HostName
    machine_id: UUID
    at: int = Field(ge=0, le=1 << 40)
    png: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]+={0,2}$", max_length=_MOST_BASE64)]


def is_png(data: bytes) -> bool:
    """It begins as a PNG does, with a picture of at least one point, and is not too large. No more of it is read."""
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    begins = data.startswith(PNG_SIGNATURE) and data[12:16] == b"IHDR"
    return begins and len(data) <= MOST_PNG_BYTES and 0 < width <= 16384 and 0 < height <= 16384
