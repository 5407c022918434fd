"""Signing in."""

from __future__ import annotations

from django.contrib.auth.forms import AuthenticationForm
from django.utils.translation import gettext_lazy as _


class SignInForm(AuthenticationForm):
    """Name and password. Who is wrong is not told which of the two is."""

    error_messages = {
        "invalid_login": _("The name or the password is wrong. Capital letters count."),
        "inactive": _("This account is switched off. Ask an administrator."),
    }
