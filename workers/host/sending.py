"""Sending a file to the portal, piece by piece: what has arrived is never sent again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import httpx

from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.tokens import Purpose, issue
from workers.host.library import endpoint

PIECE_BYTES = 4 * 1024 * 1024
_TRIES = 5


class SendError(OffshootError):
    """The portal did not take it; the detail has its words."""

    code = ErrorCode.EXPORT_FAILED


class PortalsShelf:
    """The place of one export at the portal."""

    def __init__(self, *, portal_url: str, fleet_key: str, export_id: UUID) -> None:
        self._base, transport = endpoint(portal_url)
        self._client = httpx.Client(transport=transport, timeout=60)
        self._key, self._id = fleet_key, export_id

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def room_bytes(self) -> int:
        """How much the portal has room for. Raises SendError."""
        return int(self._ask("HEAD").headers["Room-Bytes"])

    def send(self, path: Path, *, tell: Callable[[int], None], between: Callable[[], None]) -> None:
        """Send the file from where it stopped. Raises SendError, OSError, and what `between` raises."""
        size = path.stat().st_size
        have = self._have()
        with path.open("rb") as file:
            while have < size:
                between()
                file.seek(have)
                piece = file.read(PIECE_BYTES)
                headers = {
                    "Upload-Offset": str(have),
                    "Upload-Length": str(size),
                    "Piece-Sha256": hashlib.sha256(piece).hexdigest(),
                    "Content-Type": "application/octet-stream",
                }
                have = int(self._ask("PATCH", headers=headers, content=piece).headers["Upload-Offset"])
                tell(100 * have // size)

    def _have(self) -> int:
        return int(self._ask("HEAD").headers["Upload-Offset"])

    def _ask(
        self, method: str, *, headers: dict[str, str] | None = None, content: bytes = b""
    ) -> httpx.Response:
        """One request; again where the way there broke. A piece that had arrived is answered with what comes next (409)."""
        for attempt in range(_TRIES):
            token = issue(key=self._key, purpose=Purpose.EXPORT, subject=str(self._id))
            try:
                answer = self._client.request(
                    method,
                    f"{self._base}/exports/{self._id}/file/",
                    headers=(headers or {}) | {"Authorization": f"Bearer {token}"},
                    content=content,
                )
            except httpx.HTTPError as exc:
                if attempt == _TRIES - 1:
                    raise SendError(f"{type(exc).__name__}: {exc}") from exc
            else:
                if answer.is_success or answer.status_code == httpx.codes.CONFLICT:
                    return answer
                if answer.status_code < 500 or answer.status_code == httpx.codes.INSUFFICIENT_STORAGE:
                    raise SendError(f"the site answered {answer.status_code}: {answer.text[:500]}")
            time.sleep(0.3 * 2**attempt)
        raise SendError("the site does not take it now")
