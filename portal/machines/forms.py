"""The form of a new machine: a flavour or a size of one's own, checked before a service sees it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.images.models import Image
from portal.machines.flavours import CUSTOM, FLAVOURS, flavour
from portal.machines.services import MachineWish
from portal.networks.models import Network
from portal.networks.services import private_network
from portal.refusal import Refused
from workers.contract.spec import GIB, DiskBus, DiskKind, NicModel

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

_SIZES = [(flavour.key, flavour.name) for flavour in FLAVOURS] + [(CUSTOM, gettext_lazy("Custom"))]
_KINDS = [
    (DiskKind.GROWING.value, gettext_lazy("Growing: takes only what is written")),
    (DiskKind.FIXED.value, gettext_lazy("Fixed: all of its room is reserved at once")),
]
_BUSES = [
    (DiskBus.VIRTIO.value, gettext_lazy("virtio (fast; for every Linux)")),
    (DiskBus.SATA.value, gettext_lazy("SATA (for systems without a virtio driver)")),
]
_CARDS = [
    (NicModel.VIRTIO.value, gettext_lazy("virtio (fast; for every Linux)")),
    (NicModel.E1000.value, gettext_lazy("Intel e1000 (for systems without a virtio driver)")),
]

_CHOOSE = {
    "required": gettext_lazy("Choose one of these."),
    "invalid_choice": gettext_lazy("Choose one of these."),
}


def _between(words: _StrPromise) -> dict[str, str | _StrPromise]:
    """One sentence for every way in which a number can be wrong."""
    wrong = (
        "required",
        "invalid",
        "min_value",
        "max_value",
        "max_digits",
        "max_decimal_places",
        "max_whole_digits",
    )
    return dict.fromkeys(wrong, words)


class NewMachineForm(forms.Form):
    """What a person fills in. CPU, memory and disk fields count only for a custom size, the disk's always."""

    name = forms.CharField(
        max_length=63,
        label=gettext_lazy("Name"),
        error_messages={
            "required": gettext_lazy("The machine needs a name."),
            "max_length": gettext_lazy("A name has at most 63 characters."),
        },
    )
    disc = forms.ModelChoiceField(
        queryset=Image.objects.none(),
        required=False,
        empty_label=gettext_lazy("No disc"),
        label=gettext_lazy("What to install"),
        error_messages={"invalid_choice": gettext_lazy("That disc is no longer in the library.")},
    )
    size = forms.ChoiceField(
        choices=_SIZES,
        widget=forms.RadioSelect,
        initial="small",
        label=gettext_lazy("Size"),
        error_messages=_CHOOSE,
    )
    cpus = forms.IntegerField(
        min_value=1,
        max_value=256,
        required=False,
        initial=1,
        label=gettext_lazy("Processors"),
        error_messages=_between(gettext_lazy("A machine has 1 to 256 processors.")),
    )
    memory_gib = forms.DecimalField(
        min_value=Decimal("0.25"),
        max_value=4096,
        max_digits=7,
        decimal_places=2,
        required=False,
        initial=1,
        label=gettext_lazy("Memory (GB)"),
        error_messages=_between(
            gettext_lazy("A machine has 0.25 to 4096 GB of memory, with at most two decimals.")
        ),
    )
    disk_gib = forms.IntegerField(
        min_value=1,
        max_value=65536,
        initial=10,
        label=gettext_lazy("Disk (GB)"),
        error_messages=_between(gettext_lazy("A disk has 1 to 65536 GB, a whole number.")),
    )
    disk_kind = forms.ChoiceField(
        choices=_KINDS,
        widget=forms.RadioSelect,
        initial=DiskKind.GROWING.value,
        label=gettext_lazy("Disk type"),
        error_messages=_CHOOSE,
    )
    network = forms.ModelChoiceField(
        queryset=Network.objects.none(),
        empty_label=None,
        label=gettext_lazy("Network"),
        error_messages=_CHOOSE,
    )
    disk_bus = forms.ChoiceField(
        choices=_BUSES, initial=DiskBus.VIRTIO.value, required=False, label=gettext_lazy("Disk controller")
    )
    nic_model = forms.ChoiceField(
        choices=_CARDS, initial=NicModel.VIRTIO.value, required=False, label=gettext_lazy("Network card")
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        private = private_network()
        _choice(self, "disc").queryset = Image.objects.all()
        _choice(self, "network").queryset = Network.objects.all()
        self.fields["network"].initial = private.pk

    def clean(self) -> dict[str, Any]:
        """A custom size names its processors and memory; a flavour brings them."""
        cleaned: dict[str, Any] = super().clean() or {}
        chosen = flavour(cleaned.get("size", ""))
        if chosen is not None:
            for unused in ("cpus", "memory_gib"):  # not to be seen with a flavour, so nothing to complain of
                self.errors.pop(unused, None)
            cleaned["cpus"] = chosen.cpus
            cleaned["memory_mib"] = chosen.memory_mib
            return cleaned
        if cleaned.get("cpus") is None and "cpus" not in self.errors:
            self.add_error("cpus", _("Say how many processors."))
        memory = cleaned.get("memory_gib")
        if memory is None and "memory_gib" not in self.errors:
            self.add_error("memory_gib", _("Say how much memory."))
        elif memory is not None:
            cleaned["memory_mib"] = int(memory * 1024)
        return cleaned

    def add_refusal(self, refusal: Refused) -> None:
        """Say it at the field that can be changed: the processors and memory of a flavour are its size."""
        field = refusal.field if refusal.field in self.fields else None
        if field in ("cpus", "memory_gib") and self.cleaned_data["size"] != CUSTOM:
            field = "size"
        self.add_error(field, refusal.message)

    def wish(self) -> MachineWish:
        """The checked form as a wish. Call it after is_valid()."""
        data = self.cleaned_data
        return MachineWish(
            name=data["name"],
            image=data["disc"],
            cpus=data["cpus"],
            memory_mib=data["memory_mib"],
            disk_bytes=data["disk_gib"] * GIB,
            disk_kind=DiskKind(data["disk_kind"]),
            network=data["network"],
            disk_bus=DiskBus(data["disk_bus"] or DiskBus.VIRTIO),
            nic_model=NicModel(data["nic_model"] or NicModel.VIRTIO),
        )


class InsertDiscForm(forms.Form):
    """Which disc goes into the drive; none takes it out."""

    disc = forms.ModelChoiceField(queryset=Image.objects.none(), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choice(self, "disc").queryset = Image.objects.all()


def _choice(form: forms.Form, name: str) -> forms.ModelChoiceField[Any]:
    field = form.fields[name]
    if not isinstance(field, forms.ModelChoiceField):
        raise TypeError(f"{name} is no choice among rows")
    return field
