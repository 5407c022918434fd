"""The form of a new machine: a kind of system, a flavour or a size of one's own, checked before a service sees it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.accounts.models import User
from portal.flavours.selectors import CUSTOM, flavour_of, flavours_offered
from portal.fleet.selectors import pools_alive
from portal.images.models import Image
from portal.images.selectors import discs_ready, disks_ready, driver_disc
from portal.machines.drives import Drive
from portal.machines.kinds import BUS_WORDS, CARD_WORDS, FIRMWARE_WORDS, PRESETS, is_small_for_windows
from portal.machines.services import MachineWish
from portal.networks.models import Network
from portal.networks.selectors import networks_offered
from portal.networks.services import private_network
from portal.refusal import Refused
from portal.teams.models import Team
from portal.teams.selectors import teams_with_machines_of
from workers.contract.spec import GIB, Autostart, DiskBus, DiskKind, Firmware, GuestKind, NicModel

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

_KINDS = [
    (DiskKind.GROWING.value, gettext_lazy("Growing: takes only what is written")),
    (DiskKind.FIXED.value, gettext_lazy("Fixed: all of its room is reserved at once")),
]
_FITS = ("", gettext_lazy("Automatic"))
_GUESTS = [(kind.value, preset.name) for kind, preset in PRESETS.items()]
_FIRMWARE = [_FITS, *FIRMWARE_WORDS.items()]
_TPM = [_FITS, ("yes", gettext_lazy("With a TPM 2.0")), ("no", gettext_lazy("Without"))]
_BUSES = [_FITS, *BUS_WORDS.items()]
_CARDS = [_FITS, *CARD_WORDS.items()]
_NO_DISC = "none"

AUTOSTARTS = [
    (Autostart.AS_BEFORE.value, gettext_lazy("Runs again if it ran before")),
    (Autostart.ALWAYS.value, gettext_lazy("Always starts")),
    (Autostart.NEVER.value, gettext_lazy("Stays off")),
]

_CHOOSE = {
    "required": gettext_lazy("Choose one of these."),
    "invalid_choice": gettext_lazy("Choose one of these."),
}


def between(words: _StrPromise) -> dict[str, str | _StrPromise]:
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
    image_disk = forms.ModelChoiceField(
        queryset=Image.objects.none(),
        required=False,
        empty_label=gettext_lazy("An empty disk"),
        label=gettext_lazy("Start from a disk image"),
        error_messages={"invalid_choice": gettext_lazy("That disk image cannot be used any more.")},
    )
    size = forms.ChoiceField(
        widget=forms.RadioSelect,
        label=gettext_lazy("Size"),
        error_messages=_CHOOSE,
    )
    cpus = forms.IntegerField(
        min_value=1,
        max_value=256,
        required=False,
        initial=1,
        label=gettext_lazy("Processors"),
        error_messages=between(gettext_lazy("A machine has 1 to 256 processors.")),
    )
    memory_gib = forms.DecimalField(
        min_value=Decimal("0.25"),
        max_value=4096,
        max_digits=7,
        decimal_places=2,
        required=False,
        initial=1,
        label=gettext_lazy("Memory (GB)"),
        error_messages=between(
            gettext_lazy("A machine has 0.25 to 4096 GB of memory, with at most two decimals.")
        ),
    )
    disk_gib = forms.IntegerField(
        min_value=1,
        max_value=65536,
        initial=10,
        label=gettext_lazy("Disk (GB)"),
        error_messages=between(gettext_lazy("A disk has 1 to 65536 GB, a whole number.")),
    )
    disk_kind = forms.ChoiceField(
        choices=_KINDS,
        widget=forms.RadioSelect,
        initial=DiskKind.GROWING.value,
        label=gettext_lazy("Disk type"),
        error_messages=_CHOOSE,
    )
    pool = forms.ChoiceField(required=False, label=gettext_lazy("Where it lies"), error_messages=_CHOOSE)
    network = forms.ModelChoiceField(
        queryset=Network.objects.none(),
        empty_label=None,
        label=gettext_lazy("Network"),
        error_messages=_CHOOSE,
    )
    guest = forms.ChoiceField(
        choices=_GUESTS,
        required=False,
        widget=forms.RadioSelect,
        initial=GuestKind.LINUX.value,
        label=gettext_lazy("What kind of system?"),
        error_messages=_CHOOSE,
    )
    firmware = forms.ChoiceField(
        choices=_FIRMWARE, required=False, label=gettext_lazy("Firmware"), error_messages=_CHOOSE
    )
    tpm = forms.ChoiceField(
        choices=_TPM, required=False, label=gettext_lazy("Security chip (TPM)"), error_messages=_CHOOSE
    )
    disk_bus = forms.ChoiceField(
        choices=_BUSES, required=False, label=gettext_lazy("Disk controller"), error_messages=_CHOOSE
    )
    nic_model = forms.ChoiceField(
        choices=_CARDS, required=False, label=gettext_lazy("Network card"), error_messages=_CHOOSE
    )
    second_disc = forms.ChoiceField(
        required=False,
        label=gettext_lazy("Second disc drive"),
        error_messages={"invalid_choice": gettext_lazy("That disc is no longer in the library.")},
    )

    team = forms.ModelChoiceField(
        queryset=Team.objects.none(),
        required=False,
        empty_label=gettext_lazy("Me alone"),
        label=gettext_lazy("Belongs to"),
        error_messages=_CHOOSE,
    )

    def __init__(self, *args: Any, by: User | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        teams = teams_with_machines_of(by) if by is not None else Team.objects.none()
        self.teams = list(teams)
        _choice(self, "team").queryset = teams
        self.networks = networks_offered()
        default = self.networks[0].id if self.networks else private_network().pk
        ready = discs_ready()
        _choice(self, "disc").queryset = ready
        _choice(self, "image_disk").queryset = disks_ready()
        _choice(self, "network").queryset = Network.objects.all()
        self.fields["network"].initial = default
        self.discs = {str(image.pk): image for image in ready.order_by("name")}
        self.flavours = flavours_offered()
        size = self.fields["size"]
        if isinstance(size, forms.ChoiceField):
            size.choices = [*((each.key, each.name) for each in self.flavours), (CUSTOM, _("Custom"))]
            size.initial = self.flavours[0].key if self.flavours else CUSTOM
        pool = self.fields["pool"]
        if isinstance(pool, forms.ChoiceField):
            pool.choices = [("", _("Beside the machine")), *((name, name) for name in pools_alive())]
        second = self.fields["second_disc"]
        if isinstance(second, forms.ChoiceField):
            names = [(key, image.name) for key, image in self.discs.items()]
            second.choices = [_FITS, (_NO_DISC, _("Empty")), *names]

    def clean(self) -> dict[str, Any]:
        """A custom size names its processors and memory; a flavour brings them."""
        cleaned: dict[str, Any] = super().clean() or {}
        chosen = flavour_of(self.flavours, cleaned.get("size", ""))
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

    @property
    def home(self) -> Team | None:
        """Whose the machine shall be, of the checked form; None: the person's alone."""
        chosen: Team | None = self.cleaned_data["team"]
        return chosen

    def advanced(self) -> list[forms.BoundField]:
        """The fields that a preset fills where nobody says otherwise."""
        return [self[name] for name in ("firmware", "tpm", "disk_bus", "nic_model", "second_disc")]

    def is_small_for_windows(self) -> bool:
        """The checked form describes a machine on which Windows 11 cannot be installed."""
        wish = self.wish()
        return wish.guest is GuestKind.WINDOWS and is_small_for_windows(
            cpus=wish.cpus, memory_mib=wish.memory_mib, disk_bytes=wish.disk_bytes
        )

    def wish(self) -> MachineWish:
        """The checked form as a wish. Call it after is_valid()."""
        data = self.cleaned_data
        preset = PRESETS[GuestKind(data["guest"] or GuestKind.LINUX)]
        second = self.discs.get(data["second_disc"])
        if second is None and preset.wants_drivers and data["second_disc"] != _NO_DISC:
            second = driver_disc(self.discs.values())
        return MachineWish(
            name=data["name"],
            image=data["disc"],
            cpus=data["cpus"],
            memory_mib=data["memory_mib"],
            disk_bytes=data["disk_gib"] * GIB,
            disk_kind=DiskKind(data["disk_kind"]),
            network=data["network"],
            disk_bus=DiskBus(data["disk_bus"] or preset.disk_bus),
            nic_model=NicModel(data["nic_model"] or preset.nic_model),
            guest=preset.kind,
            firmware=Firmware(data["firmware"] or preset.firmware),
            tpm=data["tpm"] == "yes" if data["tpm"] else preset.tpm,
            second_image=second,
            image_disk=data["image_disk"],
            pool=data["pool"],
        )


class AutostartForm(forms.Form):
    """What happens to a machine when its host has been restarted."""

    autostart = forms.ChoiceField(choices=AUTOSTARTS)


class InsertDiscForm(forms.Form):
    """Which disc goes into which drive; none takes it out."""

    drive = forms.ChoiceField(
        choices=[(drive.value, drive.value) for drive in Drive], required=False, initial=Drive.FIRST.value
    )
    disc = forms.ModelChoiceField(queryset=Image.objects.none(), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choice(self, "disc").queryset = discs_ready()


def _choice(form: forms.Form, name: str) -> forms.ModelChoiceField[Any]:
    field = form.fields[name]
    if not isinstance(field, forms.ModelChoiceField):
        raise TypeError(f"{name} is no choice among rows")
    return field
