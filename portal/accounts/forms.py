"""Signing in, registering, being invited, inviting, and roles."""

from __future__ import annotations

import unicodedata
from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.forms import AddEmailForm, LoginForm, SignupForm
from allauth.account.models import EmailAddress
from django import forms
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from portal.accounts.invitations import Wish
from portal.accounts.models import Invitation, User
from portal.accounts.people import Roles, address_set
from portal.refusal import Refused
from portal.teams.models import Role, Team

_LONGEST_NAME = 150
_NAME = {"required": _("Choose a name."), "max_length": _("A name has at most 150 characters.")}
_ADDRESS = {"required": _("A mail address is needed."), "invalid": _("This is no mail address.")}


class SignInForm(LoginForm):  # type: ignore[misc]  # allauth is untyped
    """Name and password. Who is wrong is not told which of the two is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].label = _("Name")
        self.fields["login"].widget.attrs |= {"autocapitalize": "none", "autofocus": True}

    def clean_login(self) -> str:
        """Names are kept in one spelling (NFKC); whoever types another one means the same account."""
        return unicodedata.normalize("NFKC", self.cleaned_data["login"]).strip()


class RegisterForm(SignupForm):  # type: ignore[misc]  # allauth is untyped
    """A name, an address and a password."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, label in (
            ("username", _("Name")),
            ("email", _("Mail address")),
            ("password1", _("Password")),
            ("password2", _("The password once more")),
        ):
            self.fields[name].label = label


class AddressForm(AddEmailForm):  # type: ignore[misc]  # allauth is untyped
    """Another mail address, which has to be confirmed by a letter where letters can be sent."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].label = _("New mail address")

    def save(self, request: HttpRequest) -> EmailAddress:
        """To be confirmed, and the one of before stays until then; or at once, where no letter can be sent."""
        address: str = self.cleaned_data["email"]
        if not settings.HAS_MAIL:
            return address_set(user=self.user, email=address)
        EmailAddress.objects.filter(user=self.user, verified=False).exclude(email=self.user.email).delete()
        new = EmailAddress.objects.create(user=self.user, email=address)
        new.send_confirmation(request)
        return new


class AcceptForm(forms.Form):
    """What somebody who was invited chooses: a name, and a password twice."""

    username = forms.CharField(
        label=_("Name"),
        max_length=_LONGEST_NAME,
        error_messages=_NAME,
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none"}),
    )
    password1 = forms.CharField(
        label=_("Password"),
        strip=False,
        error_messages={"required": _("Choose a password.")},
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    password2 = forms.CharField(
        label=_("The password once more"),
        strip=False,
        error_messages={"required": _("Type the password once more.")},
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, invitation: Invitation, data: Any = None) -> None:
        super().__init__(data, initial={"username": invitation.name})
        self._email = invitation.email

    def clean_username(self) -> str:
        """In the one spelling that names are kept in, and nobody's yet."""
        name = unicodedata.normalize("NFKC", self.cleaned_data["username"]).strip()
        return str(get_adapter().clean_username(name))

    def clean(self) -> dict[str, Any] | None:
        """The same password twice, and a good one."""
        data = super().clean() or {}
        first, second = data.get("password1"), data.get("password2")
        if first and second and first != second:
            self.add_error("password2", _("The two passwords are not the same."))
        elif first:
            try:
                validate_password(first, User(username=data.get("username", ""), email=self._email))
            except ValidationError as error:
                self.add_error("password1", error)
        return data

    def add_refusal(self, refusal: Refused) -> None:
        """At the name, or above all."""
        self.add_error(refusal.field if refusal.field in self.fields else None, refusal.message)


class RolesForm(forms.Form):
    """What somebody is for the site."""

    administrator = forms.BooleanField(required=False, label=_("Administrator"))
    approver = forms.BooleanField(required=False, label=_("Approver"))
    auditor = forms.BooleanField(required=False, label=_("Auditor"))
    says = {
        "administrator": _("hosts, people, everybody's machines"),
        "approver": _("says yes or no to what others ask for"),
        "auditor": _("reads everything, changes nothing"),
    }

    def roles(self) -> Roles:
        """The checked form as the service takes it."""
        return Roles(**{name: self.cleaned_data[name] for name in ("administrator", "approver", "auditor")})


class InviteForm(RolesForm):
    """Who is invited, as what, and into which team."""

    email = forms.EmailField(label=_("Mail address"), error_messages=_ADDRESS)
    name = forms.CharField(
        label=_("Name to propose"), max_length=_LONGEST_NAME, required=False, error_messages=_NAME
    )
    team = forms.ModelChoiceField(
        label=_("Team"), queryset=Team.objects.all(), required=False, empty_label=_("No team")
    )
    team_role = forms.ChoiceField(
        label=_("In the team"), choices=Role.choices, required=False, initial=Role.MEMBER
    )

    def wish(self) -> Wish:
        """The checked form as the service takes it."""
        data = self.cleaned_data
        return Wish(
            email=data["email"],
            name=data["name"],
            roles=self.roles(),
            team=data["team"],
            team_role=Role(data["team_role"] or Role.MEMBER),
        )

    def add_refusal(self, refusal: Refused) -> None:
        """At the field that can be changed."""
        self.add_error(refusal.field if refusal.field in self.fields else None, refusal.message)
