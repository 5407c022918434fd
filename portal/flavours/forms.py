"""The form of a size."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.flavours.models import Flavour
from portal.flavours.services import FlavourWish
from portal.machines.forms import between
from portal.refusal import Refused


class FlavourForm(forms.Form):
    """A size as an administrator wants it."""

    name = forms.CharField(
        max_length=63,
        label=_("Name"),
        error_messages={"required": _("The size needs a name."), "max_length": _("At most 63 characters.")},
    )
    description = forms.CharField(
        max_length=200,
        required=False,
        label=_("What it is good for"),
        error_messages={"max_length": _("At most 200 characters.")},
    )
    cpus = forms.IntegerField(
        min_value=1, max_value=256, label=_("Processors"), error_messages=between(_("From 1 to 256."))
    )
    memory_gib = forms.DecimalField(
        min_value=Decimal("0.25"),
        max_value=4096,
        max_digits=7,
        decimal_places=2,
        label=_("Memory (GB)"),
        error_messages=between(_("From 0.25 to 4096 GB, with at most two decimals.")),
    )
    disk_gib = forms.IntegerField(
        min_value=1, max_value=65536, label=_("Disk (GB)"), error_messages=between(_("From 1 to 65536 GB."))
    )
    is_hidden = forms.BooleanField(required=False, label=_("Hidden: nobody is offered it"))
    needs_approval = forms.BooleanField(
        required=False, label=_("Needs an approval, and so does everything that fits into no free size")
    )

    @classmethod
    def of(cls, flavour: Flavour, data: Any = None) -> FlavourForm:
        """The form of one that is there."""
        names = ("name", "description", "cpus", "disk_gib", "is_hidden", "needs_approval")
        initial = {name: getattr(flavour, name) for name in names}
        return cls(
            data, initial=initial | {"memory_gib": (Decimal(flavour.memory_mib) / 1024).normalize() + 0}
        )

    def wish(self) -> FlavourWish:
        """The checked form as the service takes it."""
        data = dict(self.cleaned_data)
        return FlavourWish(memory_mib=int(data.pop("memory_gib") * 1024), **data)

    def add_refusal(self, refusal: Refused) -> None:
        """Say it at the field that can be changed."""
        self.add_error(refusal.field if refusal.field in self.fields else None, refusal.message)

    def texts(self) -> list[forms.BoundField]:
        """The fields that are typed into."""
        return [self[name] for name in ("name", "description", "cpus", "memory_gib", "disk_gib")]

    def checks(self) -> list[forms.BoundField]:
        """The fields that are ticked."""
        return [self[name] for name in ("is_hidden", "needs_approval")]
