"""The forms of teams."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.accounts.models import User
from portal.refusal import Refused
from portal.teams.models import Role

_CHOOSE = {"required": _("Choose one of these."), "invalid_choice": _("Choose one of these.")}


class PersonField(forms.CharField):
    """The name of somebody who has an account here; the cleaned value is the person."""

    def __init__(self, **kwargs: Any) -> None:
        words = {"required": _("Whom? Type a user name.")}
        super().__init__(max_length=150, label=_("User name"), error_messages=words, **kwargs)

    def clean(self, value: Any) -> Any:
        """Raises ValidationError where there is nobody of that name."""
        name = super().clean(value)
        person = User.objects.filter(username=name, is_active=True).first() if name else None
        if name and person is None:
            raise forms.ValidationError(_("There is nobody of that name here. Capital letters count."))
        return person


class RefusableForm(forms.Form):
    """A form at whose fields a service's refusal is said."""

    def add_refusal(self, refusal: Refused) -> None:
        """Say it at the field that can be changed."""
        self.add_error(refusal.field if refusal.field in self.fields else None, refusal.message)


class TeamForm(RefusableForm):
    """A team's name and what it is for."""

    name = forms.CharField(
        max_length=63,
        label=_("Name"),
        error_messages={
            "required": _("The team needs a name."),
            "max_length": _("A name has at most 63 characters."),
        },
    )
    description = forms.CharField(max_length=500, required=False, label=_("What it is for"))


class NewTeamForm(TeamForm):
    """And who owns it first."""

    username = PersonField()


class MemberForm(RefusableForm):
    """Somebody for the team."""

    username = PersonField()
    role = forms.ChoiceField(
        choices=Role.choices, initial=Role.MEMBER, label=_("Role"), error_messages=_CHOOSE
    )


class RoleForm(forms.Form):
    """Another role for somebody who is in it."""

    user = forms.IntegerField()
    role = forms.ChoiceField(choices=Role.choices, error_messages=_CHOOSE)


class WhoForm(forms.Form):
    """Somebody who is in it."""

    user = forms.IntegerField()
