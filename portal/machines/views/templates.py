"""The pages of templates. No rules here: parse, call a service or a selector, answer."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts.signed_in import user_of
from portal.fleet.words import emulated_notice
from portal.machines import cloning, freezing, template_selectors
from portal.machines.copy_forms import AS_IT_IS, FromTemplateForm
from portal.networks.selectors import networks_offered
from portal.quotas.account import Account
from portal.quotas.amounts import Amounts
from portal.quotas.bars import homes_of
from portal.quotas.checking import obstacles
from portal.quotas.hold import ToBeAskedFor
from portal.refusal import Refused
from portal.requests.forms import AskForm
from portal.requests.services import machine_from_template_ask


@require_safe
def template_list(request: HttpRequest) -> HttpResponse:
    """The templates that a person sees."""
    user = user_of(request)
    return render(
        request, "machines/templates.html", {"templates": template_selectors.templates_listed(user)}
    )


@require_http_methods(["GET", "HEAD", "POST"])
def template_use(request: HttpRequest, template_id: UUID) -> HttpResponse:
    """The short form of a machine from a template, and its making; or asking for it."""
    user = user_of(request)
    template = template_selectors.template_for(user, template_id)
    hardware = cloning.hardware_of(template)
    form = FromTemplateForm(request.POST or None, by=user)
    ask_form = AskForm(request.POST or None)
    disk_bytes = sum(disk.size_bytes for disk in hardware.disks)
    why, takes, account = list[str](), Amounts(), Account(user.pk)
    if request.method == "POST" and form.is_valid():
        name, network = form.cleaned_data["name"], form.cleaned_data["network"]
        size = form.flavour or hardware
        takes = Amounts(1, 1, size.cpus, size.memory_mib, disk_bytes)
        networks = [network.pk] if network else []
        team = form.cleaned_data["team"]
        account = Account(user.pk, team.pk if team else None)
        why = obstacles(account, user, takes, networks=networks, flavours=form.flavours)
        try:
            if not why:
                made = cloning.machine_from_template(
                    template=template,
                    owner=user,
                    team=team,
                    name=name,
                    cpus=takes.cpus,
                    memory_mib=takes.memory_mib,
                    network=network,
                    by=user,
                )
                return redirect("machines:detail", machine_id=made.machine_id)
            if ask_form.is_valid():
                asked = machine_from_template_ask(
                    by=user,
                    team=team,
                    template=template,
                    name=name,
                    takes=takes,
                    network=network,
                    **ask_form.cleaned_data,
                )
                return redirect("requests:detail", request_id=asked.pk)
        except ToBeAskedFor as refusal:  # somebody was quicker with what was left
            why = [refusal.message]
        except Refused as refusal:
            form.add_refusal(refusal)
    context = {
        "template": template,
        "hardware": hardware,
        "disk_bytes": disk_bytes,
        "why": why,
        "ask_form": ask_form,
        "homes": homes_of(account, form.teams, takes),
        "form": form,
        "flavours": form.flavours,
        "networks": networks_offered(),
        "as_it_is": AS_IT_IS,
        "emulated_notice": emulated_notice(template.host.host_facts),
    }
    return render(request, "machines/from_template.html", context, status=422 if form.errors or why else 200)


@require_POST
def template_delete(request: HttpRequest, template_id: UUID) -> HttpResponse:
    """Remove it, where nothing stands on it."""
    user = user_of(request)
    template = template_selectors.template_for(user, template_id)
    try:
        freezing.template_delete(template=template, by=user)
    except Refused as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, _("The template “%(name)s” was deleted.") % {"name": template.name})
    return redirect("templates:list")
