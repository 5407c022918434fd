"""Fetching from the makers of a system or a mirror: https only, no private address, no more than allowed, from where it broke."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

import httpx
from django.conf import settings
from django.utils.translation import gettext as _

from portal.refusal import Refused

_MOST_REDIRECTS = 5
_SECONDS = 30.0
_LARGEST_TEXT = 1024 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)


class Broken(Exception):
    """The transfer broke, or the server cannot answer now: it may go on later."""


@dataclass(frozen=True)
class Body:
    """What a server sends: from which byte on, how much in all (None: it does not say), and what names this version."""

    start: int
    total: int | None
    validator: str
    blocks: Iterator[bytes]


def text(address: str) -> str:
    """A small file. Raises Broken or Refused."""
    with _answer(address, {}) as answer:
        _must_be(answer, HTTPStatus.OK)
        content = b""
        for block in _blocks(answer):
            content += block
            if len(content) > _LARGEST_TEXT:
                raise Refused(_("The list of checksums is far too long; nothing was downloaded."))
    return content.decode("utf-8", "replace")


@contextmanager
def body(address: str, *, start: int, validator: str) -> Iterator[Body]:
    """The file from `start` on, or from its beginning where it is another one by now. Raises Broken or Refused."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and validator:
        headers["If-Range"] = validator
    with _answer(address, headers) as answer:
        if start and answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            yield Body(0, None, "", iter(()))
            return
        part = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if start and answer.status_code == HTTPStatus.PARTIAL_CONTENT and part and int(part[1]) == start:
            first, total = start, _number(part[3])
        else:
            _must_be(answer, HTTPStatus.OK)
            first, total = 0, _number(answer.headers.get("Content-Length", ""))
        named = answer.headers.get("ETag", "")
        # A weak name is no good for parts (RFC 9110, 13.1.5).
        named = named if named.startswith('"') else answer.headers.get("Last-Modified", "")
        yield Body(first, total, named[:200], _blocks(answer))


@contextmanager
def _answer(address: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
    """The answer after redirects, each of them checked. Raises Broken or Refused."""
    with httpx.Client(
        timeout=_SECONDS, trust_env=False, headers={"Accept-Encoding": "identity", "User-Agent": "offshoot"}
    ) as client:
        for _hop in range(_MOST_REDIRECTS + 1):
            _check(address)
            try:
                with client.stream("GET", address, headers=headers) as answer:
                    _check_peer(address, answer)
                    if not answer.has_redirect_location:
                        yield answer
                        return
                    address = urljoin(address, answer.headers["Location"])
            except (httpx.HTTPError, httpx.InvalidURL) as exc:
                raise Broken(f"{type(exc).__name__}: {exc}") from exc
    raise Refused(_("The server sends us from one address to the next without an end."))


def _check(address: str) -> None:
    """Raises Refused for an address that nothing is fetched from, Broken for one that cannot be found now."""
    parts = urlsplit(address)
    if _is_mirror(address):
        return
    if parts.scheme != "https" or not parts.hostname:
        raise Refused(
            _("The server sends us to an address without encryption; nothing is fetched from there.")
        )
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, ValueError) as exc:
        raise Broken(f"{parts.hostname}: {exc}") from exc
    for *_rest, where in found:
        _must_be_public(str(where[0]))


def _check_peer(address: str, answer: httpx.Response) -> None:
    """Whom we really speak with: a name may mean another address from one moment to the next."""
    stream = answer.extensions.get("network_stream")
    peer = stream.get_extra_info("server_addr") if stream is not None else None
    if not _is_mirror(address) and peer is not None:
        _must_be_public(str(peer[0]))


def _must_be_public(raw: str) -> None:
    address = ipaddress.ip_address(raw.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    if not (mapped or address).is_global or address.is_multicast:
        raise Refused(
            _("The server sends us to an address inside a private network; nothing is fetched from there.")
        )


def _is_mirror(address: str) -> bool:
    """The administrator's own mirror is trusted to be where it is."""
    if not settings.MIRROR:
        return False
    ours, theirs = urlsplit(settings.MIRROR), urlsplit(address)
    return (ours.scheme, ours.hostname, ours.port) == (theirs.scheme, theirs.hostname, theirs.port)


def _must_be(answer: httpx.Response, wanted: HTTPStatus) -> None:
    status = answer.status_code
    if status == wanted:
        return
    if status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS) or status >= 500:
        raise Broken(f"the server answers {status}")
    words = _("The server answers %(status)d instead of the file. The catalogue may be out of date.")
    raise Refused(words % {"status": status})


def _number(raw: str) -> int | None:
    return int(raw) if raw.isascii() and raw.isdigit() and len(raw) <= 18 else None


def _blocks(answer: httpx.Response) -> Iterator[bytes]:
    """As they were sent: a packed answer is not unpacked. Raises Broken."""
    try:
        yield from answer.iter_raw()
    except httpx.HTTPError as exc:
        raise Broken(f"{type(exc).__name__}: {exc}") from exc
