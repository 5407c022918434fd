"""The pages of templates. No rules here: parse, call a service or a selector, answer."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.fleet.words import emulated_notice
from portal.machines import cloning, freezing, template_selectors
from portal.machines.copy_forms import AS_IT_IS, FromTemplateForm
from portal.machines.flavours import FLAVOURS, flavour
from portal.machines.views.acting import user_of
from portal.networks.selectors import networks_offered
from portal.refusal import Refused


@require_safe
def template_list(request: HttpRequest) -> HttpResponse:
    """The templates that a person sees."""
    user = user_of(request)
    return render(
        request, "machines/templates.html", {"templates": template_selectors.templates_listed(user)}
    )


@require_http_methods(["GET", "HEAD", "POST"])
def template_use(request: HttpRequest, template_id: UUID) -> HttpResponse:
    """The short form of a machine from a template, and its making."""
    user = user_of(request)
    template = template_selectors.template_for(user, template_id)
    hardware = cloning.hardware_of(template)
    form = FromTemplateForm(request.POST or None, by=user)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        size = flavour(data["size"]) or hardware
        try:
            asked = cloning.machine_from_template(
                template=template,
                owner=user,
                team=data["team"],
                name=data["name"],
                cpus=size.cpus,
                memory_mib=size.memory_mib,
                network=data["network"],
                by=user,
            )
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            return redirect("machines:detail", machine_id=asked.machine_id)
    context = {
        "template": template,
        "hardware": hardware,
        "disk_bytes": sum(disk.size_bytes for disk in hardware.disks),
        "form": form,
        "flavours": FLAVOURS,
        "networks": networks_offered(),
        "as_it_is": AS_IT_IS,
        "emulated_notice": emulated_notice(template.host.host_facts),
    }
    return render(request, "machines/from_template.html", context, status=422 if form.errors else 200)


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
