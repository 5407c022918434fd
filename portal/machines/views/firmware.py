"""What starts a machine, on its page: shown, and changed while it is off. No rules here."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from portal.accounts.models import User
from portal.activity.models import Operation
from portal.machines.firmware import FirmwareWish, firmware_change
from portal.machines.kinds import FIRMWARE_WORDS, PRESETS
from portal.machines.models import Machine
from portal.machines.views.acting import act
from portal.refusal import Refused
from workers.contract.messages import Observed
from workers.contract.spec import Firmware, GuestKind

_SELECT = partial(forms.Select, attrs={"class": "form-select"})


class FirmwareForm(forms.Form):
    """What shall start the machine."""

    guest = forms.ChoiceField(
        choices=[(kind.value, preset.name) for kind, preset in PRESETS.items()],
        label=gettext_lazy("System"),
        widget=_SELECT(),
    )
    firmware = forms.ChoiceField(
        choices=list(FIRMWARE_WORDS.items()), label=gettext_lazy("Firmware"), widget=_SELECT()
    )
    tpm = forms.ChoiceField(
        choices=[("yes", gettext_lazy("With a TPM 2.0")), ("no", gettext_lazy("Without"))],
        label=gettext_lazy("Security chip (TPM)"),
        widget=_SELECT(),
    )

    def wish(self) -> FirmwareWish:
        """The checked form as a wish."""
        data = self.cleaned_data
        return FirmwareWish(GuestKind(data["guest"]), Firmware(data["firmware"]), data["tpm"] == "yes")


def firmware_card(machine: Machine) -> dict[str, Any]:
    """What the pages of a machine show of it."""
    initial = {
        "guest": machine.guest,
        "firmware": machine.firmware,
        "tpm": "yes" if machine.tpm else "no",
    }
    return {
        "guest": PRESETS[GuestKind(machine.guest)].name,
        "firmware": FIRMWARE_WORDS[machine.firmware],
        "is_secure": machine.firmware == Firmware.UEFI_SECURE,
        "may_change": machine.observed == Observed.OFF,
        "form": FirmwareForm(initial=initial, auto_id="firmware-%s"),
    }


@require_POST
def machine_change_firmware(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Another firmware, TPM or kind of system, from the next start on."""
    form = FirmwareForm(request.POST)

    def change(*, machine: Machine, by: User) -> Operation:
        if not form.is_valid():
            raise Refused(_("Choose one of what is offered. Nothing was changed."))
        return firmware_change(machine=machine, wish=form.wish(), by=by)

    return act(request, machine_id, change, page="hardware")
