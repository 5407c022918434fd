"""What the pages of accounts can offer in this installation."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from portal.accounts import registration


def possible(request: HttpRequest) -> dict[str, Any]:
    """A mail server, passkeys at the site's address, registration. A query only on the page that asks for the last."""
    return {
        "has_mail": settings.HAS_MAIL,
        "has_passkeys": bool(settings.PASSKEY_HOST),
        "registration_is_open": registration.is_open,
    }
