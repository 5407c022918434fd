"""From where the present request comes: set by the middleware and the sockets, read by whoever adds a line."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from django.http import HttpRequest

BEHIND = "impersonated_by"
"""In a session that acts as somebody else: whose it really is (portal/impersonation)."""


@dataclass(frozen=True)
class Person:
    """Somebody, as a line names them."""

    id: int | None = None
    name: str = ""


@dataclass(frozen=True)
class Origin:
    """Address and session; `behind` is the administrator who acts as the session's person."""

    address: str = ""
    session: str = ""
    behind: Person | None = None


_NOWHERE = Origin()
_present: ContextVar[Origin] = ContextVar("origin", default=_NOWHERE)


def present() -> Origin:
    """Where the present work comes from; empty in a worker, which works for nobody's browser."""
    return _present.get()


@contextmanager
def coming_from(origin: Origin) -> Iterator[None]:
    """Within this, lines say that."""
    token = _present.set(origin)
    try:
        yield
    finally:
        _present.reset(token)


def of_request(request: HttpRequest) -> Origin:
    """The address is the connection's, or what the proxy on this very machine says (portal/serve.py): the same by which wrong
    passwords are counted."""
    session = request.session
    has_cookie = session.session_key is not None
    return Origin(
        address=address_of(request.META.get("REMOTE_ADDR", "")),
        session=session_mark(session.session_key),
        behind=behind(session) if has_cookie else None,
    )


def of_socket(scope: Mapping[str, Any]) -> Origin:
    """The same of a WebSocket; reads the session, so outside of the event loop."""
    session = scope["session"]
    client = scope.get("client") or ("",)
    return Origin(address_of(str(client[0])), session_mark(session.session_key), behind(session))


def behind(session: Any) -> Person | None:
    """Who really sits there, where somebody acts as another person."""
    said = session.get(BEHIND)
    return Person(int(said["id"]), str(said["name"])) if said else None


def with_session(origin: Origin, key: str | None) -> Origin:
    """The same under a session that was just begun."""
    return replace(origin, session=session_mark(key))


def session_mark(key: str | None) -> str:
    """What tells sessions apart in the log; the key itself is a secret."""
    return hashlib.sha256(key.encode()).hexdigest()[:16] if key else ""


def address_of(raw: str) -> str:
    """An address as it is kept; a unix socket has none."""
    return raw[:45]
