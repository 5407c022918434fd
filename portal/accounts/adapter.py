"""Where django-allauth asks what this site wants: who may come in, what is counted, what is said, by which addresses."""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from collections.abc import Iterable
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import ratelimit
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.usersessions.adapter import DefaultUserSessionsAdapter
from allauth.usersessions.models import UserSession
from cryptography.fernet import Fernet
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from portal.accounts import mail, registration, sessions
from portal.accounts.models import User
from portal.audit.signing_in import turned_away

_NOTICES = {
    "password_changed": _("The password of your account was changed."),
    "password_reset": _("The password of your account was chosen anew, by a link."),
    "email_changed": _("Another mail address belongs to your account now; this one does no longer."),
    "totp_activated": _("An app that shows codes was added to your account."),
    "totp_deactivated": _("The app that shows codes was removed from your account."),
    "webauthn_added": _("A passkey was added to your account."),
    "webauthn_removed": _("A passkey was removed from your account."),
    "recovery_codes_generated": _(
        "Your account has new recovery codes; the ones of before are good no longer."
    ),
}


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth is untyped
    """Names and passwords, registration, mail."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "username_password_mismatch": _("The name or the password is wrong. Capital letters count."),
        "username_taken": _("Somebody has this name already. Choose another."),
        "incorrect_password": _("This is not your password."),
        "enter_current_password": _("This is not your password of now."),
        "too_many_login_attempts": _("That was wrong too often. Wait a quarter of an hour, then try again."),
        "rate_limited": _("That was too often in a short time. Wait a little, then try again."),
        "duplicate_email": _("This is your address already."),
    }

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Five tries a quarter of an hour for a name from an address; those that come after are not looked at."""
        if not ratelimit.consume(request, action="login_failed", key=self._tries(request, credentials)):
            turned_away(request, str(credentials.get("username", "")))
            raise ImmediateHttpResponse(ratelimit.respond_429(request))

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        """Who gets it right begins to count anew."""
        user: User | None = super().authenticate(request, **credentials)
        if user is not None:
            self.forget_tries(request, credentials.get("username", ""))
        return user

    def forget_tries(self, request: HttpRequest, name: str) -> None:
        """The door is open again for this name from here."""
        ratelimit.clear(request, action="login_failed", key=self._tries(request, {"username": name}))

    def get_client_ip(self, request: HttpRequest) -> str:
        """As the web server says, which knows whether a proxy may be believed; this machine on its own socket."""
        return request.META.get("REMOTE_ADDR") or "127.0.0.1"

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:
        """Only who knows the password learns that an account is there and waits, or was switched off."""
        return redirect("account_waiting" if user.awaits_approval else "account_inactive")

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """As an administrator chose."""
        return registration.is_open()

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        """Whoever registers waits for an administrator."""
        user.is_active, user.awaits_approval = False, True
        super().save_user(request, user, form, commit)
        registration.tell_administrators(user)
        return user

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        """Back to what is one's own."""
        return reverse("account_index")

    def get_reset_password_from_key_url(self, key: str) -> str:
        """At the address that people know the site by, whatever the request claimed it to be."""
        uid, _dash, token = key.partition("-")
        return settings.ORIGIN + reverse("account_reset_password_from_key", args=[uid, token])

    def get_email_confirmation_url(self, request: HttpRequest, emailconfirmation: Any) -> str:
        """The same."""
        return settings.ORIGIN + reverse("account_confirm_email", args=[emailconfirmation.key])

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Never within the request: how long it takes would tell whether there is somebody to write to."""
        mail.send(
            self.render_mail(template_prefix, email, {"email": email, "origin": settings.ORIGIN, **context})
        )

    def send_notification_mail(
        self,
        template_prefix: str,
        user: User,
        context: dict[str, Any] | None = None,
        email: str | None = None,
    ) -> None:
        """To the person, when something of the account that guards it was changed."""
        name = template_prefix.rpartition("/")[2]
        address = email or user.email
        if address and name in _NOTICES:
            self.send_mail("account/email/notice", address, {"user": user, "sentence": _NOTICES[name]})

    def _tries(self, request: HttpRequest, credentials: dict[str, Any]) -> str:
        name = unicodedata.normalize("NFKC", str(credentials.get("username", ""))).strip().casefold()
        return f"{self.get_client_ip(request)} {name}"


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth is untyped
    """Codes and passkeys."""

    error_messages = DefaultMFAAdapter.error_messages | {
        "incorrect_code": _("This code is wrong, or was used already."),
    }

    def get_totp_label(self, user: User) -> str:
        """What the app on the phone calls it."""
        return user.get_username()

    def encrypt(self, text: str) -> str:
        """So that a copy of the database alone signs nobody in."""
        return _cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Back."""
        return _cipher().decrypt(encrypted_text.encode()).decode()

    def generate_authenticator_name(self, user: User, type: Any) -> str:
        """Proposed; the person can call it otherwise."""
        return _now("My passkey")

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """The name that browsers bind a passkey to."""
        return {"id": settings.PASSKEY_HOST or "offshoot.invalid", "name": "Offshoot"}


class SessionsAdapter(DefaultUserSessionsAdapter):  # type: ignore[misc]  # allauth is untyped
    """Sessions that are ended from another one."""

    def end_sessions(self, sessions_to_end: Iterable[UserSession]) -> None:
        """With every console and live page that was opened in them."""
        for session in sessions_to_end:
            sessions.end(session)


def _cipher() -> Fernet:
    key = hashlib.sha256(b"second factors:" + settings.SECRET_KEY.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(key))
