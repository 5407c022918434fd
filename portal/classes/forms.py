"""The form of a new class."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.accounts.models import User
from portal.classes.lists import MOST_BYTES, text_of, text_of_team
from portal.classes.selectors import teams_owned_by
from portal.machines.models import Template
from portal.machines.template_selectors import templates_for
from portal.networks.models import Network
from portal.networks.services import private_network
from portal.refusal import Refused
from portal.teams.forms import RefusableForm
from portal.teams.models import Team

_CHOOSE = {"required": _("Choose one of these."), "invalid_choice": _("Choose one of these.")}


class NewClassForm(RefusableForm):
    """Who gets a machine of what. The list is typed or a file; without either it is all of the team."""

    name = forms.CharField(
        max_length=40,
        label=_("Name of the class"),
        error_messages={
            "required": _("The class needs a name."),
            "max_length": _("A class's name has at most 40 characters."),
        },
    )
    template = forms.ModelChoiceField(
        queryset=Template.objects.none(), label=_("Template"), error_messages=_CHOOSE
    )
    team = forms.ModelChoiceField(
        queryset=Team.objects.none(),
        required=False,
        label=_("The machines belong to"),
        error_messages=_CHOOSE,
    )
    network = forms.ModelChoiceField(
        queryset=Network.objects.all(), required=False, label=_("Network"), empty_label=_("No network"),
        error_messages=_CHOOSE,
    )  # fmt: skip
    people = forms.CharField(
        required=False, strip=False, max_length=MOST_BYTES, label=_("People"),
        error_messages={"max_length": _("The list is larger than 64 KB. Nothing was made.")},
    )  # fmt: skip
    file = forms.FileField(required=False, label=_("or a CSV file"))
    start = forms.BooleanField(required=False, initial=True)

    def __init__(self, *args: Any, by: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, queryset in (
            ("template", templates_for(by).filter(is_ready=True)),
            ("team", teams_owned_by(by)),
        ):
            field = self.fields[name]
            if isinstance(field, forms.ModelChoiceField):
                field.queryset = queryset
        team = self.fields["team"]
        team.required = not by.is_administrator
        if isinstance(team, forms.ModelChoiceField):
            team.empty_label = (
                str(_("Each to its person")) if by.is_administrator else str(_("Choose a team"))
            )
        self.fields["network"].initial = private_network().pk

    @property
    def list_text(self) -> str:
        """The list of people, wherever it comes from. Raises Refused."""
        data = self.cleaned_data
        if data["file"] is not None:
            if data["file"].size > MOST_BYTES:
                raise Refused(str(_("The list is larger than 64 KB. Nothing was made.")), "people")
            return text_of(data["file"].read())
        if data["people"].strip() or data["team"] is None:
            return str(data["people"])
        return text_of_team(data["team"])
