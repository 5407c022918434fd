"""The form of a web hook."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.hooks.services import HookWish
from portal.notices.kinds import KINDS
from portal.refusal import Refused


class HookForm(forms.Form):
    """Name, address, kinds."""

    name = forms.CharField(label=_("Name"), max_length=63)
    address = forms.CharField(label=_("Address"), max_length=500)
    kinds = forms.MultipleChoiceField(
        label=_("What it is told"),
        choices=lambda: [(key, kind.label) for key, kind in KINDS.items()],
        error_messages={"required": _("Choose at least one.")},
    )
    is_on = forms.BooleanField(label=_("Switched on"), required=False, initial=True)

    def wish(self) -> HookWish:
        """What was asked for, checked."""
        said = self.cleaned_data
        return HookWish(said["name"], said["address"], tuple(said["kinds"]), said["is_on"])

    def add_refusal(self, refusal: Refused) -> None:
        """The service's no, at its field."""
        self.add_error(refusal.field if refusal.field in self.fields else None, refusal.message)
