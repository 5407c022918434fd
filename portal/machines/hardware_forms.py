"""The forms of a machine's hardware: each is one card of the page and asks for one change."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.machines.forms import between
from portal.machines.models import Machine
from portal.networks.models import Network
from portal.networks.services import private_network
from workers.contract.spec import GIB, BootFrom, DiskBus, DiskKind, NicModel

_CHOOSE = {
    "required": gettext_lazy("Choose one of these."),
    "invalid_choice": gettext_lazy("Choose one of these."),
}
_MIB_A_GIB = 1024
_DISK_WORDS = gettext_lazy("A disk has 1 to 65536 GB, a whole number.")
_MEMORY_WORDS = gettext_lazy("A machine has 0.25 to 4096 GB of memory, with at most two decimals.")
FROM_DISC = BootFrom.DISC.value


class SizeForm(forms.Form):
    """Name, processors, memory, and the most memory that it can be given while it runs."""

    name = forms.CharField(
        max_length=63,
        error_messages={
            "required": gettext_lazy("The machine needs a name."),
            "max_length": gettext_lazy("A name has at most 63 characters."),
        },
    )
    cpus = forms.IntegerField(
        min_value=1,
        max_value=256,
        error_messages=between(gettext_lazy("A machine has 1 to 256 processors.")),
    )
    memory_gib = forms.DecimalField(
        min_value=Decimal("0.25"),
        max_value=4096,
        max_digits=7,
        decimal_places=2,
        error_messages=between(_MEMORY_WORDS),
    )
    memory_most_gib = forms.DecimalField(
        min_value=Decimal("0.25"),
        max_value=4096,
        max_digits=7,
        decimal_places=2,
        required=False,
        error_messages=between(_MEMORY_WORDS),
    )

    def clean(self) -> dict[str, Any]:
        """The most is not less than what it has."""
        cleaned: dict[str, Any] = super().clean() or {}
        memory, most = cleaned.get("memory_gib"), cleaned.get("memory_most_gib")
        if memory is not None and most is not None and most < memory:
            self.add_error("memory_most_gib", _("That is less than the memory that it has."))
        return cleaned

    def wanted(self) -> dict[str, Any]:
        """The checked form as the service takes it: memory in MiB."""
        data = self.cleaned_data
        most = data["memory_most_gib"]
        return {
            "name": data["name"],
            "cpus": data["cpus"],
            "memory_mib": int(data["memory_gib"] * _MIB_A_GIB),
            "memory_most_mib": int(most * _MIB_A_GIB) if most is not None else None,
        }


def size_form(machine: Machine) -> SizeForm:
    """The form as the machine is now."""
    most = machine.memory_most_mib
    return SizeForm(
        initial={
            "name": machine.name,
            "cpus": machine.cpus,
            "memory_gib": _gib(machine.memory_mib),
            "memory_most_gib": _gib(most) if most else None,
        }
    )


class BootForm(forms.Form):
    """What is tried first: "disc", or the slot of a disk."""

    first = forms.RegexField(
        rf"^({FROM_DISC}|[0-9]{{1,2}})$", error_messages={"invalid": _CHOOSE["required"]} | _CHOOSE
    )

    def wanted(self) -> dict[str, Any]:
        """The checked form as the service takes it."""
        first = self.cleaned_data["first"]
        if first == FROM_DISC:
            return {"boot_from": BootFrom.DISC, "slot": None}
        return {"boot_from": BootFrom.DISK, "slot": int(first)}


class AddDiskForm(forms.Form):
    """One more disk."""

    disk_gib = forms.IntegerField(min_value=1, max_value=65536, error_messages=between(_DISK_WORDS))
    disk_kind = forms.ChoiceField(
        choices=[(kind.value, kind.value) for kind in DiskKind], error_messages=_CHOOSE
    )
    disk_bus = forms.ChoiceField(choices=[(bus.value, bus.value) for bus in DiskBus], error_messages=_CHOOSE)
    pool = forms.CharField(max_length=32, required=False)

    def wanted(self) -> dict[str, Any]:
        """The checked form as the service takes it."""
        data = self.cleaned_data
        return {
            "size_bytes": data["disk_gib"] * GIB, "kind": DiskKind(data["disk_kind"]),
            "bus": DiskBus(data["disk_bus"]), "pool": data["pool"],
        }  # fmt: skip


class GrowDiskForm(forms.Form):
    """A disk's new size."""

    grow_gib = forms.IntegerField(min_value=1, max_value=65536, error_messages=between(_DISK_WORDS))


class RemoveDiskForm(forms.Form):
    """The person knows that there is no undo."""

    sure = forms.BooleanField(required=False)


class AddCardForm(forms.Form):
    """One more network card."""

    nic_model = forms.ChoiceField(
        choices=[(model.value, model.value) for model in NicModel], error_messages=_CHOOSE
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        network = forms.ModelChoiceField(
            queryset=Network.objects.all(), initial=private_network().pk, error_messages=_CHOOSE
        )
        self.fields["network"] = network


def _gib(mib: int) -> Decimal:
    """Gigabytes with at most two decimals, none where it is whole."""
    return (Decimal(mib) / _MIB_A_GIB).quantize(Decimal("0.01")).normalize() + 0
