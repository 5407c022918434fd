"""The forms of a machine's page "Sharing"."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.accounts.models import User
from portal.rights.levels import SHAREABLE, Level
from portal.rights.models import LEVEL_WORDS
from portal.teams.forms import PersonField, RefusableForm
from portal.teams.models import Team
from portal.teams.selectors import teams_for, teams_with_machines_of

_CHOOSE = {"required": _("Choose one of these."), "invalid_choice": _("Choose one of these.")}


class ShareForm(RefusableForm):
    """With whom, and what they may: a person by user name, or one of the teams that the one who shares sees."""

    username = PersonField(required=False)
    team = forms.ModelChoiceField(queryset=Team.objects.none(), required=False, error_messages=_CHOOSE)
    level = forms.TypedChoiceField(
        choices=[(level.value, LEVEL_WORDS[level]) for level in SHAREABLE],
        coerce=lambda raw: Level(int(raw)),
        initial=Level.VIEW_CONSOLE.value,
        error_messages=_CHOOSE,
    )
    ends_on = forms.DateField(required=False, error_messages={"invalid": _("Give a day, or leave it empty.")})

    def __init__(self, *args: Any, by: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _teams(self, "team").queryset = teams_for(by)

    def clean(self) -> dict[str, Any]:
        """One of the two."""
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.errors and bool(cleaned.get("username")) == bool(cleaned.get("team")):
            self.add_error("username", _("Type a user name or choose a team, one of the two."))
        return cleaned

    @property
    def whom(self) -> User | Team:
        """Of the checked form."""
        found: User | Team = self.cleaned_data["username"] or self.cleaned_data["team"]
        return found


class HandOverForm(RefusableForm):
    """To a person, who has to take it."""

    username = PersonField()


class HomeForm(RefusableForm):
    """To a team, or back to oneself."""

    team = forms.ModelChoiceField(
        queryset=Team.objects.none(), required=False, empty_label=_("Me alone"), error_messages=_CHOOSE
    )

    def __init__(self, *args: Any, by: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        teams = Team.objects.order_by("name") if by.is_administrator else teams_with_machines_of(by)
        _teams(self, "team").queryset = teams


class TakeForm(RefusableForm):
    """Taking what is offered, under a name that is free."""

    name = forms.CharField(
        max_length=63, label=_("Name"), error_messages={"required": _("The machine needs a name.")}
    )


def _teams(form: forms.Form, name: str) -> forms.ModelChoiceField[Team]:
    field = form.fields[name]
    if not isinstance(field, forms.ModelChoiceField):
        raise TypeError(f"{name} is no choice among teams")
    return field
