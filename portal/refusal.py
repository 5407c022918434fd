"""A wish that cannot be granted, in words for the person who has it."""

from __future__ import annotations


class Refused(Exception):
    """Nothing was changed; `message` says why and what to do, `field` names the form's field where there is one."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
