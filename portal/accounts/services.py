"""Accounts that the installation makes by itself."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from django.db import IntegrityError, transaction

from portal.accounts.models import User

ADMINISTRATOR = "admin"
_PASSWORD_BYTES = 18


@dataclass(frozen=True)
class NewAdministrator:
    """Shown once; only the password's hash is kept."""

    name: str
    password: str


def ensure_administrator() -> NewAdministrator | None:
    """An administrator with a random password, where there is none at all yet."""
    if User.objects.filter(is_staff=True).exists():
        return None
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    try:
        with transaction.atomic():
            User.objects.create_superuser(username=ADMINISTRATOR, password=password)
    except IntegrityError:
        if User.objects.filter(is_staff=True).exists():
            return None  # somebody was quicker; theirs counts
        raise
    return NewAdministrator(ADMINISTRATOR, password)
