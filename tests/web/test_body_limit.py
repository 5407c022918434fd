"""A request that brings too much is ended before it fills anything, whoever sends it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.conf import settings

from portal.asgi import application

pytestmark = pytest.mark.asyncio
PIECE = bytes(1024 * 1024)


async def test_a_body_that_is_said_to_be_too_large_is_refused_before_it_is_read() -> None:
    status, taken = await _send([PIECE] * 50, length=50 * len(PIECE))
    assert (status, taken) == (413, 0)


async def test_a_body_of_no_said_length_is_refused_where_it_grows_too_large() -> None:
    status, taken = await _send([PIECE] * 50, length=None)
    assert status == 413
    assert taken <= settings.LARGEST_BODY_BYTES // len(PIECE) + 1


async def test_a_length_that_is_no_number_is_refused() -> None:
    assert (await _send([], length="-1"))[0] == 413


async def test_the_largest_piece_of_an_upload_still_comes_through_to_the_door() -> None:
    status, taken = await _send([PIECE] * 8, length=settings.UPLOAD_CHUNK_BYTES)
    assert taken == 8
    assert status == 403  # no protection against forgery was sent with it: Django has read it and judged


async def _send(pieces: list[bytes], *, length: int | str | None) -> tuple[int, int]:
    """Status of the answer, and how many pieces were taken."""
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/octet-stream")]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/sign-in/", "raw_path": b"/sign-in/", "query_string": b"", "root_path": "", "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000),
    }  # fmt: skip
    said: list[dict[str, Any]] = []
    left = list(pieces)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.sleep(3600)
        return {"type": "http.request", "body": left.pop(), "more_body": bool(left)}

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    await asyncio.wait_for(application(scope, receive, send), 20)
    return said[0]["status"], len(pieces) - len(left)
