"""The pages of machines. No rules here: parse, call a service or a selector, answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts.models import User
from portal.activity.models import STARTING, Operation
from portal.activity.selectors import history_of
from portal.activity.words import shown
from portal.fleet.selectors import candidates, hosts_alive
from portal.fleet.words import emulated_notice
from portal.images.models import Image
from portal.machines import selectors, services
from portal.machines.flavours import FLAVOURS
from portal.machines.forms import InsertDiscForm, NewMachineForm
from portal.machines.models import Machine
from portal.machines.status import Status, possible
from portal.refusal import Refused

_ROWS_A_PAGE = 50


@require_safe
def machine_list(request: HttpRequest) -> HttpResponse:
    """The machines that a person sees."""
    user = _user(request)
    query = request.GET.get("q", "").replace("\x00", "").strip()[:100]  # PostgreSQL takes no NUL
    page = Paginator(selectors.machines_for(user, query=query), _ROWS_A_PAGE).get_page(
        request.GET.get("page")
    )
    context = {
        "machines": selectors.listed(page.object_list),
        "page_obj": page,
        "total": page.paginator.count,
        "query": query,
        "is_administrator": user.is_administrator,
        "library_is_empty": not Image.objects.exists(),
    }
    return render(request, "machines/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def machine_new(request: HttpRequest) -> HttpResponse:
    """The form of a new machine, and its making."""
    user = _user(request)
    form = NewMachineForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            operation = services.machine_create(owner=user, requested_by=user, wish=form.wish())
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            return redirect("machines:detail", machine_id=cast(UUID, operation.machine_id))
    facts = [host.host_facts for host in hosts_alive()]
    notices = [emulated_notice(each) for each in facts if each is not None]
    room = candidates()
    most_cpus = max((host.threads for host in room), default=0)
    most_memory_mib = max((host.memory_free_mib for host in room), default=0)
    context = {
        "form": form,
        "sizes": [
            (each, not room or (each.cpus <= most_cpus and each.memory_mib <= most_memory_mib))
            for each in FLAVOURS
        ],
        "images": Image.objects.order_by("name"),
        "emulated_notice": notices[0] if notices and all(notices) else "",
        "no_host": not room,
        "largest": {"cpus": most_cpus, "memory_gib": most_memory_mib / 1024},
    }
    return render(request, "machines/new.html", context, status=422 if form.errors else 200)


@require_safe
def machine_detail(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """One machine: steps, console, facts, history."""
    machine = selectors.machine_for(_user(request), machine_id)
    return render(request, "machines/detail.html", _detail(machine))


@require_POST
def machine_start(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Start it."""
    return _act(request, machine_id, services.machine_start)


@require_POST
def machine_shut_down(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Ask its system to shut down."""
    return _act(request, machine_id, services.machine_shut_down)


@require_POST
def machine_restart(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Ask its system to shut down, then start it."""
    return _act(request, machine_id, services.machine_restart)


@require_POST
def machine_force_off(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Cut it off."""
    return _act(request, machine_id, services.machine_force_off)


@require_POST
def machine_finish_installation(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Take the disc out, boot from the disk from now on."""
    return _act(request, machine_id, services.machine_finish_installation)


@require_POST
def machine_insert_disc(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Put a disc in, or take it out."""
    form = InsertDiscForm(request.POST)

    def insert(*, machine: Machine, by: User) -> Operation:
        if not form.is_valid():
            raise Refused(_("That disc is no longer in the library."))
        return services.machine_insert_disc(machine=machine, disc=form.cleaned_data["disc"], by=by)

    return _act(request, machine_id, insert)


@require_POST
def machine_delete(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """Remove it, after its name was typed; the list is shown, since its own page goes with it."""

    def delete(*, machine: Machine, by: User) -> Operation:
        operation = services.machine_delete(machine=machine, name=request.POST.get("name", ""), by=by)
        messages.success(request, _("“%(name)s” is being deleted.") % {"name": machine.name})
        return operation

    return _act(request, machine_id, delete, then=redirect("machines:list"))


def _act(
    request: HttpRequest,
    machine_id: UUID,
    service: Callable[..., Operation],
    *,
    then: HttpResponse | None = None,
) -> HttpResponse:
    """Do it and show the machine, or go on to `then`; a refusal stands on the machine's page in words."""
    user = _user(request)
    machine = selectors.machine_for(user, machine_id)
    its_page = redirect("machines:detail", machine_id=machine_id)
    try:
        service(machine=machine, by=user)
    except Refused as refusal:
        messages.error(request, refusal.message)
        return its_page
    return then or its_page


def _detail(machine: Machine) -> dict[str, Any]:
    history = history_of(machine.pk)
    newest = history[0] if history else None
    status = selectors.status_with(machine, newest)
    nics = list(machine.nics.select_related("network"))
    return {
        "machine": machine,
        "status": status,
        "disks": list(machine.disks.all()),
        "nics": nics,
        "operation": shown(newest) if newest else None,
        "shows_steps": newest is not None and _shows_steps(newest, status),
        "history": [shown(operation) for operation in history],
        "can": possible(status, has_disc=machine.disc_id is not None, wanted=machine.power),
        "images": Image.objects.order_by("name"),
        "host_is_silent": machine.host.is_silent,
        "emulated_notice": emulated_notice(machine.host.host_facts),
        "hood": machine.under_the_hood,
    }


def _shows_steps(newest: Operation, status: Status) -> bool:
    """While something is done or went wrong; and how it came to run, so that a quick start does not flash by."""
    has_started = newest.kind in STARTING and status.known == "running"
    return newest.is_open or bool(newest.error_code) or has_started


def _user(request: HttpRequest) -> User:
    """The signed-in person; LoginRequiredMiddleware lets nobody else come here."""
    if not isinstance(request.user, User):
        raise TypeError("a page of machines was reached without signing in")
    return request.user
