"""Passwords of accounts inside machines: only their hash ever leaves the request."""

from __future__ import annotations

import unicodedata

from django.utils.translation import gettext as _
from passlib.hash import sha512_crypt

from portal.refusal import Refused

LEAST, MOST = 8, 128
_ROUNDS = 200_000
"""crypt(5): every Linux guest knows sha512-crypt. A fifth of a second here, and at each sign-in in the guest."""


def hashed(password: str, *, field: str = "password") -> str:
    """A crypt(5) hash. Raises Refused where the password is too short, too long, or has what no keyboard types."""
    if not LEAST <= len(password) <= MOST:
        words = _("A password has %(least)d to %(most)d characters.")
        raise Refused(words % {"least": LEAST, "most": MOST}, field)
    if any(unicodedata.category(character).startswith("C") for character in password):
        raise Refused(_("A password has visible characters only."), field)
    return str(sha512_crypt.using(rounds=_ROUNDS).hash(password))
