"""Short-lived signed tokens with which portal and hosts trust each other's streams; the key is the fleet's."""

from __future__ import annotations

from enum import StrEnum

from itsdangerous import BadSignature, TimestampSigner

from workers.contract.errors import OffshootError


class Purpose(StrEnum):
    """What a token is good for; a token of one purpose never passes for another."""

    CONSOLE = "console"
    IMAGE = "image"
    EXPORT = "export"


class TokenError(OffshootError):
    """The token is forged, too old, or for something else."""


def issue(*, key: str, purpose: Purpose, subject: str) -> str:
    """A token that says that the holder of the fleet's key allows `purpose` on `subject`, from now on."""
    return TimestampSigner(key, salt=f"offshoot.{purpose}").sign(subject).decode()


def subject_of(token: str, *, key: str, purpose: Purpose, seconds: int) -> str:
    """The subject of a token that is at most `seconds` old. Raises TokenError."""
    try:
        return TimestampSigner(key, salt=f"offshoot.{purpose}").unsign(token, max_age=seconds).decode()
    except BadSignature as exc:
        raise TokenError(str(exc)) from exc
