"""The forms of copies: a clone, a template, a machine from a template, and where a disk lies."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.accounts.models import User
from portal.flavours.models import Flavour
from portal.flavours.selectors import flavour_of, flavours_offered
from portal.networks.models import Network
from portal.networks.services import private_network
from portal.refusal import Refused
from portal.teams.models import Team
from portal.teams.selectors import teams_with_machines_of
from workers.contract.disks import DiskKind

AS_IT_IS = "template"
_NAME = {
    "required": _("It needs a name."),
    "max_length": _("A name has at most 63 characters."),
}
_CHOOSE = {"required": _("Choose one of these."), "invalid_choice": _("Choose one of these.")}


class CloneForm(forms.Form):
    """A machine like this one."""

    name = forms.CharField(max_length=63, error_messages=_NAME)
    how = forms.ChoiceField(choices=[("linked", _("Linked")), ("full", _("Full"))], error_messages=_CHOOSE)
    start = forms.BooleanField(required=False)

    def wanted(self) -> dict[str, Any]:
        """The checked form as the service takes it."""
        data = self.cleaned_data
        return {"name": data["name"], "linked": data["how"] == "linked", "start": data["start"]}


class PublishForm(forms.Form):
    """A template made of this machine."""

    name = forms.CharField(max_length=63, error_messages=_NAME)
    description = forms.CharField(
        max_length=2000,
        required=False,
        error_messages={"max_length": _("A description has at most 2000 characters.")},
    )
    for_everybody = forms.BooleanField(required=False)


class MoveDiskForm(forms.Form):
    """Where a disk shall lie, and as what."""

    kind = forms.ChoiceField(choices=[(kind.value, kind.value) for kind in DiskKind], error_messages=_CHOOSE)
    pool = forms.CharField(max_length=32, required=False)


class FromTemplateForm(forms.Form):
    """A new machine from a template: its name, its size, its network."""

    name = forms.CharField(max_length=63, label=_("Name"), error_messages=_NAME)
    size = forms.ChoiceField(
        initial=AS_IT_IS,
        label=_("Size"),
        error_messages=_CHOOSE,
    )
    network = forms.ModelChoiceField(
        queryset=Network.objects.none(), required=False, label=_("Network"), error_messages=_CHOOSE
    )

    team = forms.ModelChoiceField(
        queryset=Team.objects.none(), required=False, empty_label=_("Me alone"), label=_("Belongs to"),
        error_messages=_CHOOSE,
    )  # fmt: skip

    def __init__(self, *args: Any, by: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.teams = list(teams_with_machines_of(by))
        team = self.fields["team"]
        if isinstance(team, forms.ModelChoiceField):
            team.queryset = teams_with_machines_of(by)
        self.flavours = flavours_offered()
        size = self.fields["size"]
        if isinstance(size, forms.ChoiceField):
            names = [(each.key, each.name) for each in self.flavours]
            size.choices = [(AS_IT_IS, _("As the template")), *names]
        private = private_network()
        network = self.fields["network"]
        if isinstance(network, forms.ModelChoiceField):
            network.queryset = Network.objects.all()
        network.initial = private.pk

    @property
    def flavour(self) -> Flavour | None:
        """The size that was chosen; None for that of the template."""
        return flavour_of(self.flavours, self.cleaned_data["size"])

    def add_refusal(self, refusal: Refused) -> None:
        """Say it at the field that can be changed."""
        self.add_error(refusal.field if refusal.field in self.fields else None, refusal.message)
