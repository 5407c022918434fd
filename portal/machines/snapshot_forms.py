"""What is typed on the page of a machine's snapshots. Rules about machines are the services'."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.refusal import Refused


class SnapshotForm(forms.Form):
    """A snapshot's name and what it is for; `memory` only where one is taken."""

    name = forms.CharField(
        max_length=63,
        error_messages={
            "required": _("The snapshot needs a name."),
            "max_length": _("A name has at most 63 characters."),
        },
    )
    description = forms.CharField(
        max_length=2000,
        required=False,
        error_messages={"max_length": _("At most 2000 characters, please.")},
    )
    memory = forms.BooleanField(required=False)

    def add_refusal(self, refusal: Refused) -> None:
        """Say it at its field, or above the form."""
        self.add_error(refusal.field if refusal.field in self.fields else None, refusal.message)

    def about(self) -> dict[str, Any]:
        """Name and description for a service. Call it after is_valid()."""
        return {key: self.cleaned_data[key] for key in ("name", "description")}
