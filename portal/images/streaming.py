"""A part of a file as an answer: single byte ranges (RFC 9110, 14.2), and little memory however large the file."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

_BLOCK_BYTES = 512 * 1024
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


class NotSatisfiable(Exception):
    """The range begins behind the end."""


class FilePart:
    """Bytes `first` to `last` of a file, read as they are sent.

    Asynchronous, since Django's ASGI handler reads a synchronous iterator, FileResponse's too, to its end before it sends.
    """

    def __init__(self, path: Path, *, first: int, last: int) -> None:
        self._file = path.open("rb")
        self._file.seek(first)
        self._rest = last - first + 1

    def close(self) -> None:
        """Django calls it when the answer was sent, or when the other side went away."""
        self._file.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._rest > 0:
            block = await asyncio.to_thread(self._file.read, min(_BLOCK_BYTES, self._rest))
            if not block:
                break
            self._rest -= len(block)
            yield block


def file_response(request: HttpRequest, path: Path, *, size: int, etag: str) -> HttpResponseBase:
    """The whole file, or the one range that was asked for. Raises FileNotFoundError."""
    try:
        wanted = _range(request, size, etag)
    except NotSatisfiable:
        refusal = HttpResponse(status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        refusal["Content-Range"] = f"bytes */{size}"
        return refusal
    first, last = wanted or (0, size - 1)
    response: HttpResponseBase
    if request.method == "HEAD":
        response = HttpResponse(content_type="application/octet-stream")
    else:
        body = FilePart(path, first=first, last=last)
        response = StreamingHttpResponse(body, content_type="application/octet-stream")
    if wanted:
        response.status_code = HTTPStatus.PARTIAL_CONTENT
        response["Content-Range"] = f"bytes {first}-{last}/{size}"
    response["Content-Length"] = str(last - first + 1)
    response["Accept-Ranges"] = "bytes"
    response["ETag"] = etag
    return response


def _range(request: HttpRequest, size: int, etag: str) -> tuple[int, int] | None:
    """First and last byte; None for the whole file, as for a range that we do not read (RFC 9110 allows that)."""
    match = _RANGE.fullmatch(request.headers.get("Range", ""))
    if match is None or match[1] == match[2] == "" or request.headers.get("If-Range", etag) != etag:
        return None
    if match[1] == "":  # the last so many bytes
        if int(match[2]) == 0:
            raise NotSatisfiable
        return max(0, size - int(match[2])), size - 1
    first = int(match[1])
    last = min(int(match[2]), size - 1) if match[2] else size - 1
    if match[2] and int(match[2]) < first:
        return None
    if first >= size:
        raise NotSatisfiable
    return first, last
