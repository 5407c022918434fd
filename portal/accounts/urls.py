"""Coming in and going out, and what is one's own: the pages of django-allauth that are offered, and a few of ours.

allauth knows its pages by these names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allauth.account import views as account
from allauth.mfa.base import views as factor
from allauth.mfa.recovery_codes import views as codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as passkeys
from allauth.usersessions import views as usersessions
from django.urls import path, re_path, reverse_lazy
from django.views.decorators.http import require_http_methods

from portal.accounts.views import door, own


def _form(view: Callable[..., Any]) -> Callable[..., Any]:
    """A page that is read and sent, and nothing else."""
    return require_http_methods(["GET", "HEAD", "POST"])(view)


_FACTOR = reverse_lazy("mfa_index")

urlpatterns = [
    path("sign-in/", _form(account.login), name="account_login"),
    path("sign-in/second-step/", _form(factor.authenticate), name="mfa_authenticate"),
    path("sign-in/passkey/", _form(passkeys.login_webauthn), name="mfa_login_webauthn"),
    path("sign-in/waiting/", door.waiting, name="account_waiting"),
    path("sign-in/switched-off/", door.switched_off, name="account_inactive"),
    path("sign-out/", door.sign_out, name="account_logout"),
    path("register/", _form(account.signup), name="account_signup"),
    path("invitation/<str:token>/", door.invitation, name="invitation"),
    path("password/forgotten/", _form(account.password_reset), name="account_reset_password"),
    path("password/forgotten/sent/", _form(account.password_reset_done), name="account_reset_password_done"),
    re_path(
        r"^password/new/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>[^/]+)/$",
        _form(door.NewPassword.as_view()),
        name="account_reset_password_from_key",
    ),
    path("account/", own.index, name="account_index"),
    path("account/password/", _form(account.password_change), name="account_change_password"),
    path("account/mail/", _form(account.email), name="account_email"),
    path("account/mail/confirm/<str:key>/", _form(account.confirm_email), name="account_confirm_email"),
    path("account/again/", _form(account.reauthenticate), name="account_reauthenticate"),
    path("account/again/code/", _form(factor.reauthenticate), name="mfa_reauthenticate"),
    path(
        "account/again/passkey/", _form(passkeys.reauthenticate_webauthn), name="mfa_reauthenticate_webauthn"
    ),
    path("account/second-factor/", _form(factor.index), name="mfa_index"),
    path("account/second-factor/app/", _form(totp.activate_totp), name="mfa_activate_totp"),
    path("account/second-factor/app/remove/", _form(totp.deactivate_totp), name="mfa_deactivate_totp"),
    path("account/second-factor/codes/", _form(codes.view_recovery_codes), name="mfa_view_recovery_codes"),
    path(
        "account/second-factor/codes/new/",
        _form(codes.generate_recovery_codes),
        name="mfa_generate_recovery_codes",
    ),
    path("account/second-factor/passkeys/add/", _form(own.add_passkey), name="mfa_add_webauthn"),
    path(
        "account/second-factor/passkeys/<int:pk>/",
        _form(passkeys.EditWebAuthnView.as_view(success_url=_FACTOR)),
        name="mfa_edit_webauthn",
    ),
    path(
        "account/second-factor/passkeys/<int:pk>/remove/",
        _form(passkeys.RemoveWebAuthnView.as_view(success_url=_FACTOR)),
        name="mfa_remove_webauthn",
    ),
    path("account/sessions/", _form(usersessions.list_usersessions), name="usersessions_list"),
    path("account/sessions/<int:session_id>/end/", own.session_end, name="account_session_end"),
]
