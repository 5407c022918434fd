"""One message to one address: signed, no redirect followed, never to this host itself, bounded in time and size."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import socket
import time
from dataclasses import dataclass
from http import HTTPStatus

import httpx
from django.conf import settings
from django.utils.translation import gettext as _

SECONDS = 10.0
MOST_BYTES = 16 * 1024


@dataclass(frozen=True)
class Answer:
    """What came of it: the receiver's status where there was one, and why it is none that counts."""

    status: int | None = None
    problem: str = ""

    @property
    def is_taken(self) -> bool:
        """The receiver said yes (2xx)."""
        return not self.problem


class _NotThere(Exception):
    """The address leads where nothing is sent."""


def send(address: str, *, body: str, secret: str, delivery: str, kind: str) -> Answer:
    """Post it. Never raises for what the other side does; at most SECONDS."""
    return asyncio.run(
        _send(address, body.encode(), secret, {"Offshoot-Delivery": delivery, "Offshoot-Event": kind})
    )


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What the receiver computes too: of the timestamp, a dot, and the body, so that an old message is known as such."""
    return hmac.digest(secret.encode(), timestamp.encode() + b"." + body, "sha256").hex()


async def _send(address: str, body: bytes, secret: str, headers: dict[str, str]) -> Answer:
    timestamp = str(int(time.time()))
    try:
        async with asyncio.timeout(SECONDS):
            url = httpx.URL(address)
            where = await _resolved(url)
            signed = headers | {
                "Content-Type": "application/json",
                "User-Agent": "offshoot",
                "Accept-Encoding": "identity",
                "Host": url.netloc.decode(),
                "Offshoot-Timestamp": timestamp,
                "Offshoot-Signature": f"sha256={signature(secret, timestamp, body)}",
            }
            # To the very address that was looked at: a name may mean another one a moment later.
            to = url.copy_with(host=where)
            async with (
                httpx.AsyncClient(timeout=SECONDS, trust_env=False, follow_redirects=False) as client,
                client.stream(
                    "POST", to, content=body, headers=signed, extensions={"sni_hostname": url.host}
                ) as answer,
            ):
                return await _judged(answer)
    except _NotThere as exc:
        return Answer(problem=str(exc))
    except TimeoutError:
        return Answer(problem=_("no answer within %(seconds)d s") % {"seconds": SECONDS})
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError, ValueError) as exc:
        return Answer(problem=f"{type(exc).__name__}: {exc}"[:250])


async def _judged(answer: httpx.Response) -> Answer:
    size = 0
    async for block in answer.aiter_raw():
        size += len(block)
        if size > MOST_BYTES:
            break  # what it says is not read anyway
    status = answer.status_code
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Answer(status)
    if answer.is_redirect:
        return Answer(
            status, _("it answered %(status)d, and redirects are not followed") % {"status": status}
        )
    return Answer(status, _("it answered %(status)d") % {"status": status})


async def _resolved(url: httpx.URL) -> str:
    """The first of its addresses, all of which were looked at. Raises _NotThere."""
    port = url.port or (443 if url.scheme == "https" else 80)
    found = await asyncio.get_running_loop().getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    addresses = [str(where[0]) for *_rest, where in found]
    for each in addresses:
        if not settings.LOCAL_HOOKS and _is_local(each):
            raise _NotThere(_("the address leads to the host of the site itself, or to none"))
    return addresses[0]


def _is_local(raw: str) -> bool:
    address = ipaddress.ip_address(raw.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
        or address.is_reserved
    )
