"""A limit on what a request brings, before Django keeps its body in memory or in a temporary file.

Django reads a body to its end before it looks at who sends it (django.core.handlers.asgi), and its own
DATA_UPLOAD_MAX_MEMORY_SIZE does not count files and raw bodies.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[..., Awaitable[None]]

_WORDS = b"The request is larger than anything that this site takes. Nothing was changed.\n"


class BodyLimit:
    """An ASGI application around another one: a body of more than `largest` bytes is answered with 413."""

    def __init__(self, app: App, largest: int) -> None:
        self._app = app
        self._largest = largest

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request. What the sender says of the length is checked first, then what really comes is counted."""
        said = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not said.isdigit() or int(said) > self._largest:
            await _refuse(send)
            return
        came = 0
        begun = False

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            # To Django it looks as if the browser went away, which ends the reading at once.
            return {"type": "http.disconnect"} if came > self._largest else message

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        await self._app(scope, counted, watched)
        if came > self._largest and not begun:
            await _refuse(send)


async def _refuse(send: Send) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": _WORDS})
