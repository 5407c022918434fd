"""The host's copies of the library's discs: fetched from the portal once, checked, kept."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import httpx

from workers.contract.errors import ErrorCode, OffshootError
from workers.contract.spec import DiscSpec
from workers.contract.tokens import Purpose, issue
from workers.host.locks import locked

_TRIES = 3
_CHUNK_BYTES = 1024 * 1024


class LibraryError(OffshootError):
    """A disc could not be fetched, or is not what was announced; nothing of it is used."""

    code = ErrorCode.DISC_UNREACHABLE


def cached(image_id: UUID, folder: Path) -> Path:
    """Where the host's copy of a disc lies."""
    return folder / f"{image_id}.iso"


def fetch_disc(
    disc: DiscSpec, *, folder: Path, portal_url: str, fleet_key: str, progress: Callable[[int], None]
) -> None:
    """The disc is in `folder`, checked. Fetches it unless it is there; a broken transfer goes on where it broke.

    `progress` is told per cent. Raises LibraryError: DISC_UNREACHABLE, DISC_DAMAGED or DISK_FULL.
    """
    path = cached(disc.image_id, folder)
    with locked(folder / f".{disc.image_id}.lock"):
        # A file gets its name only after its sum was checked; its size is looked at once more against truncation.
        if path.exists() and path.stat().st_size == disc.size_bytes:
            return
        part = path.with_suffix(".part")
        for attempt in range(_TRIES):
            try:
                _download(disc, part, portal_url, fleet_key, progress)
                break
            except httpx.HTTPError as exc:
                if attempt == _TRIES - 1:
                    raise LibraryError(f"{type(exc).__name__}: {exc}") from exc
                time.sleep(0.5 * 2**attempt)
            except LibraryError:
                part.unlink(missing_ok=True)
                raise
            except OSError as exc:
                part.unlink(missing_ok=True)
                code = ErrorCode.DISK_FULL if exc.errno == errno.ENOSPC else ErrorCode.DISC_UNREACHABLE
                raise LibraryError(str(exc), code=code) from exc
        if part.stat().st_size != disc.size_bytes or _sha256(part) != disc.sha256:
            part.unlink()
            raise LibraryError("its size or checksum is not the library's", code=ErrorCode.DISC_DAMAGED)
        part.chmod(0o644)
        part.rename(path)


def forget_image(image_id: UUID, folder: Path) -> None:
    """Drop the host's copy; a machine that has it open keeps it until its end (unlink(2))."""
    cached(image_id, folder).unlink(missing_ok=True)
    cached(image_id, folder).with_suffix(".part").unlink(missing_ok=True)
    (folder / f".{image_id}.lock").unlink(missing_ok=True)


def _download(
    disc: DiscSpec, part: Path, portal_url: str, fleet_key: str, progress: Callable[[int], None]
) -> None:
    token = issue(key=fleet_key, purpose=Purpose.IMAGE, subject=str(disc.image_id))
    have = part.stat().st_size if part.exists() else 0
    if have > disc.size_bytes:
        part.unlink()
        have = 0
    if have == disc.size_bytes:
        return
    headers = {"Authorization": f"Bearer {token}", "Range": f"bytes={have}-"}
    base, transport = endpoint(portal_url)
    with (
        httpx.Client(transport=transport, timeout=30) as client,
        client.stream("GET", f"{base}/discs/{disc.image_id}/file/", headers=headers) as answer,
        part.open("ab") as file,
    ):
        answer.raise_for_status()
        if answer.status_code != httpx.codes.PARTIAL_CONTENT:
            file.truncate(0)
            have = 0
        for chunk in answer.iter_raw(_CHUNK_BYTES):
            have += len(chunk)
            if have > disc.size_bytes:
                raise LibraryError("the portal sends more than it announced", code=ErrorCode.DISC_DAMAGED)
            file.write(chunk)
            progress(100 * have // disc.size_bytes)
        file.flush()
        os.fsync(file.fileno())
    if have < disc.size_bytes:
        raise httpx.ReadError("the transfer ended early")


def endpoint(portal_url: str) -> tuple[str, httpx.BaseTransport]:
    """The base address and the way to it: a unix socket of this machine, or HTTP(S)."""
    if portal_url.startswith("http+unix:"):
        return "http://localhost", httpx.HTTPTransport(uds=portal_url.removeprefix("http+unix:"))
    return portal_url.rstrip("/"), httpx.HTTPTransport()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
