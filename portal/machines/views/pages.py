"""The pages of machines. No rules here: parse, call a service or a selector, answer."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Exists
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from portal.accounts.models import User
from portal.accounts.signed_in import user_of
from portal.backups.selectors import of_deleted_machines
from portal.fleet.selectors import candidates
from portal.fleet.words import emulated_notice
from portal.images.models import Image
from portal.images.selectors import discs_ready, disks_ready, driver_disc
from portal.leases.selectors import lease_card
from portal.machines import selectors, services
from portal.machines.drives import drives_of
from portal.machines.forms import AUTOSTARTS, NewMachineForm
from portal.machines.guest import guest_of
from portal.machines.guest_forms import SeedForm
from portal.machines.kinds import PRESETS, WINDOWS_CPUS, WINDOWS_DISK_BYTES, WINDOWS_MEMORY_MIB
from portal.machines.reaching import cards_of, ssh_line
from portal.machines.seeds import last_used
from portal.machines.views.acting import machine_page
from portal.machines.views.firmware import firmware_card
from portal.quotas.account import Account
from portal.quotas.amounts import Amounts
from portal.quotas.bars import homes_of
from portal.quotas.checking import obstacles
from portal.quotas.hold import ToBeAskedFor
from portal.refusal import Refused
from portal.requests.forms import AskForm
from portal.requests.services import machine_ask
from portal.requests.wishes import NewMachine
from portal.rights.offers import offers_to
from workers.contract.messages import Observed
from workers.contract.spec import GIB

_ROWS_A_PAGE = 50
_SMALL_FOR_WINDOWS = gettext_lazy(
    "The machine is smaller than Windows 11 asks for: 2 processors, 4 GB of memory and a disk of 64 GB. "
    "Older systems take less; give it more before you install Windows 11."
)


@require_safe
def machine_list(request: HttpRequest) -> HttpResponse:
    """The machines that a person sees."""
    user = user_of(request)
    query = request.GET.get("q", "").replace("\x00", "").strip()[:100]  # PostgreSQL takes no NUL
    page = Paginator(selectors.machines_for(user, query=query), _ROWS_A_PAGE).get_page(
        request.GET.get("page")
    )
    beside = User.objects.filter(pk=user.pk).values_list(  # one query, since most have neither
        Exists(of_deleted_machines(user)), Exists(offers_to(user))
    )
    has_old_backups, has_offers = beside[0]
    context = {
        "machines": selectors.listed(page.object_list),
        "page_obj": page,
        "total": page.paginator.count,
        "query": query,
        "sees_everything": user.is_auditor,
        "offers": offers_to(user) if has_offers else [],
        "has_old_backups": has_old_backups,
        "library_is_empty": lambda: not Image.objects.exists(),  # asked only where there are no machines
    }
    return render(request, "machines/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def machine_new(request: HttpRequest) -> HttpResponse:
    """The form of a new machine, and its making; or asking for it, where it is not to be had at once."""
    user = user_of(request)
    form = NewMachineForm(request.POST or None, by=user)
    ask_form = AskForm(request.POST or None)
    why, account = list[str](), Account(user.pk)
    seed_form = SeedForm(request.POST or None, initial=last_used(user))
    wish = seed_form.completed(form.wish()) if request.method == "POST" and form.is_valid() else None
    if wish is not None:
        account = Account(user.pk, form.home.pk if form.home else None)
        takes = NewMachine.of(wish).takes
        why = obstacles(account, user, takes, networks=[wish.network.pk], flavours=form.flavours)
        try:
            if not why:
                operation = services.machine_create(owner=user, requested_by=user, wish=wish, team=form.home)
                if form.is_small_for_windows():
                    messages.warning(request, _SMALL_FOR_WINDOWS)
                return redirect("machines:detail", machine_id=cast(UUID, operation.machine_id))
            if ask_form.is_valid():
                asked = machine_ask(by=user, team=form.home, wish=wish, **ask_form.cleaned_data)
                return redirect("requests:detail", request_id=asked.pk)
        except ToBeAskedFor as refusal:  # somebody was quicker with what was left
            why = [refusal.message]
        except Refused as refusal:
            form.add_refusal(refusal)
    if request.method == "POST":
        seed_form.say_again()
    disk_images = list(disks_ready())
    room = candidates()
    notices = [emulated_notice(each.facts) for each in room]
    most_cpus = max((host.threads for host in room), default=0)
    most_memory_mib = max((host.memory_free_mib for host in room), default=0)
    context = {
        "form": form,
        "seed_form": seed_form,
        "sizes": [
            (each, not room or (each.cpus <= most_cpus and each.memory_mib <= most_memory_mib))
            for each in form.flavours
        ],
        "why": why,
        "ask_form": ask_form,
        "homes": homes_of(account, form.teams, NewMachine.of(wish).takes if wish else Amounts()),
        "images": form.discs.values(),
        "presets": PRESETS.values(),
        "advanced": form.advanced(),
        "advanced_is_open": any(field.value() or field.errors for field in form.advanced()),
        "networks": form.networks,
        "driver_disc": driver_disc(form.discs.values()),
        "windows": {
            "cpus": WINDOWS_CPUS,
            "memory_mib": WINDOWS_MEMORY_MIB,
            "disk_gib": WINDOWS_DISK_BYTES // GIB,
        },
        "disk_images": disk_images,
        "has_cloud_images": any(image.is_cloud for image in disk_images),
        "emulated_notice": notices[0] if notices and all(notices) else "",
        "no_host": not room,
        "largest": {"cpus": most_cpus, "memory_gib": most_memory_mib / 1024},
    }
    return render(request, "machines/new.html", context, status=422 if request.method == "POST" else 200)


@require_safe
def machine_detail(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """One machine: steps, console, facts, history."""
    machine = selectors.machine_for(user_of(request), machine_id)
    nics = list(machine.nics.select_related("network"))
    guest = guest_of(machine, nics)
    cards = cards_of(machine, nics, guest)
    context = {
        "guest": guest,
        "cards": cards,
        "ssh_command": ssh_line(machine, cards),
        "disks": list(machine.disks.all()),
        "images": discs_ready(),
        "drives": drives_of(machine, is_off=machine.observed == Observed.OFF),
        "firmware": firmware_card(machine),
        "hood": machine.under_the_hood,
        "autostarts": AUTOSTARTS,
        "term": lease_card(machine, user_of(request)),
    }
    return machine_page(request, machine, "detail", "machines/detail.html", context)
