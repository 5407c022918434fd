"""allauth's forms for passkeys, for which whatever a browser may send is at most a wrong one."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.forms import (
    AddWebAuthnForm,
    AuthenticateWebAuthnForm,
    LoginWebAuthnForm,
    ReauthenticateWebAuthnForm,
)


@contextmanager
def _parsing() -> Iterator[None]:
    """What the parser of credentials (fido2) stumbles over is no error of ours."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, struct.error) as exc:
        raise get_adapter().validation_error("incorrect_code") from exc


class AddPasskeyForm(AddWebAuthnForm):  # type: ignore[misc]  # allauth is untyped
    """A new one."""

    def clean(self) -> dict[str, Any]:
        """Checked as allauth does."""
        with _parsing():
            data: dict[str, Any] = super().clean()
        return data


class _Shown:
    def clean_credential(self) -> Authenticator:
        """Checked as allauth does."""
        with _parsing():
            return super().clean_credential()  # type: ignore[misc]  # of the form that this is mixed into


class SignInPasskeyForm(_Shown, LoginWebAuthnForm):  # type: ignore[misc]  # allauth is untyped
    """Instead of name and password."""


class SecondStepPasskeyForm(_Shown, AuthenticateWebAuthnForm):  # type: ignore[misc]  # allauth is untyped
    """After the password."""


class AgainPasskeyForm(_Shown, ReauthenticateWebAuthnForm):  # type: ignore[misc]  # allauth is untyped
    """Before something that guards the account."""
