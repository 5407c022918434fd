"""The page of a machine's hardware. No rules here: parse, call a service or a selector, answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from portal.accounts.signed_in import user_of
from portal.activity.models import Operation
from portal.machines import hardware, room, selectors
from portal.machines.hardware_forms import (
    FROM_DISC,
    AddCardForm,
    AddDiskForm,
    BootForm,
    GrowDiskForm,
    RemoveDiskForm,
    SizeForm,
    size_form,
)
from portal.machines.limit_forms import LimitsForm
from portal.machines.limits import host_lacks
from portal.machines.models import Machine
from portal.machines.views.acting import act, machine_page
from portal.machines.views.firmware import firmware_card
from portal.networks.selectors import networks_offered
from portal.quotas.account import account_of
from portal.quotas.amounts import Field
from portal.quotas.bars import bars_of
from portal.quotas.hold import ToBeAskedFor
from portal.refusal import Refused
from portal.requests.at_once_or_asked import at_once_or_asked
from portal.requests.forms import AskForm
from portal.requests.more import LargerDisk, MoreDisk, MoreSize, OfMachine, OneMoreCard
from portal.requests.selectors import open_for
from workers.contract.spec import GIB, BootFrom, DiskBus, DiskKind, NicModel


@require_safe
def machine_hardware(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """What it has, and a form for each part of it."""
    return hardware_page(request, selectors.machine_for(user_of(request), machine_id))


@require_POST
def machine_size(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Its name, processors and memory."""
    form = SizeForm(request.POST)

    def asks_for(machine: Machine) -> MoreSize:
        size = form.wanted()
        if size.pop("name") != machine.name:
            raise Refused(_("What is asked for is the size alone. Give it another name by itself."), "name")
        return MoreSize.of(machine, **size)

    return _asked(
        request, machine_id, form, "size_form", lambda: partial(hardware.machine_change_size, **form.wanted()),
        asks_for=asks_for,
    )  # fmt: skip


@require_POST
def machine_boot(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """What it starts from."""
    form = BootForm(request.POST)
    return _asked(
        request, machine_id, form, "boot_form", lambda: partial(hardware.machine_change_boot, **form.wanted())
    )


@require_POST
def disk_add(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """One more disk."""
    form = AddDiskForm(request.POST)
    return _asked(
        request, machine_id, form, "disk_form", lambda: partial(hardware.disk_add, **form.wanted()),
        asks_for=lambda machine: MoreDisk.of(machine, **form.wanted()),
    )  # fmt: skip


@require_POST
def disk_grow(request: HttpRequest, machine_id: UUID, disk_id: UUID) -> HttpResponse:
    """A disk made larger."""
    form = GrowDiskForm(request.POST)

    def wanted() -> dict[str, Any]:
        return {"disk_id": disk_id, "size_bytes": form.cleaned_data["grow_gib"] * GIB}

    return _asked(
        request, machine_id, form, "grow_form", lambda: partial(hardware.disk_grow, **wanted()), of=disk_id,
        asks_for=lambda machine: LargerDisk.of(machine, **wanted()),
    )  # fmt: skip


@require_POST
def disk_remove(request: HttpRequest, machine_id: UUID, disk_id: UUID) -> HttpResponse:
    """A disk taken out and deleted, after the person has said that they are sure."""
    form = RemoveDiskForm(request.POST)
    is_sure = form.is_valid() and form.cleaned_data["sure"]
    remove = partial(hardware.disk_remove, disk_id=disk_id, is_sure=is_sure)
    return act(request, machine_id, remove, page="hardware")


@require_POST
def card_add(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """One more network card."""
    form = AddCardForm(request.POST)

    def wanted() -> dict[str, Any]:
        data = form.cleaned_data
        return {"network": data["network"], "model": NicModel(data["nic_model"])}

    return _asked(
        request, machine_id, form, "card_form", lambda: partial(hardware.card_add, **wanted()),
        asks_for=lambda machine: OneMoreCard.of(machine, **wanted()),
    )  # fmt: skip


@require_POST
def card_remove(request: HttpRequest, machine_id: UUID, nic_id: UUID) -> HttpResponse:
    """A network card taken out."""
    return act(request, machine_id, partial(hardware.card_remove, nic_id=nic_id), page="hardware")


def _asked(
    request: HttpRequest,
    machine_id: UUID,
    form: forms.Form,
    form_name: str,
    wanted: Callable[[], Callable[..., Operation]],
    *,
    asks_for: Callable[[Machine], OfMachine] | None = None,
    of: UUID | None = None,
) -> HttpResponse:
    """Have it done, or show the page again with the form as it was filled in and what is wrong at its field.

    `asks_for`: the wish that the same form ends in where it has to be asked for.
    """
    user = user_of(request)
    machine = selectors.machine_for(user, machine_id)
    ask_form, why = AskForm(request.POST), list[str]()
    its_page = redirect("machines:hardware", machine_id=machine_id)
    if form.is_valid():
        do = partial(wanted(), machine=machine, by=user)
        try:
            if asks_for is None:
                do()
                return its_page
            return at_once_or_asked(
                by=user,
                do=do,
                wish=partial(asks_for, machine),
                ask_form=ask_form,
                then=lambda _done: its_page,
            )
        except ToBeAskedFor as refusal:
            why = [refusal.message]
        except Refused as refusal:
            form.add_error(refusal.field if refusal.field in form.fields else None, refusal.message)
    asking = {"ask_form": ask_form, "why": why, "asked_at": form_name} if why else {}
    return hardware_page(request, machine, **{form_name: form}, **asking, grown=of)


def hardware_page(request: HttpRequest, machine: Machine, **filled_in: Any) -> HttpResponse:
    """The page with forms as the machine is now, but for those that are `filled_in`."""
    first = FROM_DISC if machine.boot_from == BootFrom.DISC else str(machine.boot_slot)
    disks = list(machine.disks.order_by("position"))
    context = {
        "limits_form": LimitsForm(machine=machine, disks=disks, cards=machine.nics.select_related("network")),
        "lacks": host_lacks(machine),
        "firmware": firmware_card(machine),
        "disks": disks,
        "has_snapshots": machine.snapshots.exists(),
        "bars": bars_of(account_of(machine), fields=(Field.CPUS, Field.MEMORY_MIB, Field.DISK_BYTES)),
        "pools": room.usable_pools(machine.host),
        "networks": networks_offered(),
        "size_form": size_form(machine),
        "boot_form": BootForm(initial={"first": first}),
        "disk_form": AddDiskForm(
            initial={"disk_gib": 10, "disk_kind": DiskKind.GROWING, "disk_bus": DiskBus.VIRTIO}
        ),
        "card_form": AddCardForm(initial={"nic_model": NicModel.VIRTIO}),
        "grow_form": None,
        "ask_form": AskForm(),
        "asked": open_for(machine, user_of(request)),
        **filled_in,
    }
    is_wrong = any(isinstance(form, forms.Form) and form.errors for form in filled_in.values())
    status = 422 if is_wrong or filled_in.get("why") else 200
    return machine_page(request, machine, "hardware", "machines/hardware.html", context, status=status)
