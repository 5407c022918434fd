"""The version of the contract, and the one way to read a message of it."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from workers.contract.errors import MessageError, VersionError

CONTRACT_VERSION = 4
"""Raised with every change that an older reader would misunderstand."""

READABLE_VERSIONS = (1, 2, 3, 4)
"""Versions 2 to 4 only added fields that may be left out, so what a host wrote down under an earlier one is still understood."""


class Message(BaseModel):
    """Base of all that crosses the border: frozen, no unknown fields, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def to_wire(self) -> dict[str, Any]:
        """The message as JSON types with the contract's version, the form in which it travels."""
        return {"version": CONTRACT_VERSION, "body": self.model_dump(mode="json")}


M = TypeVar("M", bound=Message)


def from_wire(model: type[M], wire: object) -> M:
    """Read a message that came from the other side.

    Raises VersionError where the other side speaks another version, MessageError where it does not fit the model.
    """
    if not isinstance(wire, dict):
        raise MessageError("the message is not an object")
    version = wire.get("version")
    if version not in READABLE_VERSIONS or isinstance(version, bool):
        raise VersionError(f"message of version {version!r}, this side speaks {CONTRACT_VERSION}")
    try:
        # Strict mode takes a UUID or an enum from JSON text but not from a Python str.
        return model.model_validate_json(json.dumps(wire.get("body")))
    except (ValidationError, TypeError, ValueError) as exc:
        raise MessageError(f"{model.__name__}: {exc}") from exc
