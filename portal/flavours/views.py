"""The pages of sizes; auditors read the list. No rules here: parse, call a service, answer."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts.signed_in import user_of
from portal.flavours import services
from portal.flavours.forms import FlavourForm
from portal.flavours.models import Flavour
from portal.refusal import Refused


@require_safe
def flavour_list(request: HttpRequest) -> HttpResponse:
    """The sizes in their order."""
    return render(request, "settings/sizes.html", {"flavours": Flavour.objects.all(), "tab": "sizes"})


@require_http_methods(["GET", "HEAD", "POST"])
def flavour_add(request: HttpRequest) -> HttpResponse:
    """One more."""
    form = FlavourForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            services.flavour_add(wish=form.wish(), by=user_of(request))
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            return redirect("flavours:list")
    return _page(request, form, None)


@require_http_methods(["GET", "HEAD", "POST"])
def flavour_change(request: HttpRequest, flavour_id: int) -> HttpResponse:
    """Another name, other numbers, hidden or to be asked for."""
    flavour = get_object_or_404(Flavour, pk=flavour_id)
    form = FlavourForm.of(flavour, request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            services.flavour_change(flavour=flavour, wish=form.wish(), by=user_of(request))
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            return redirect("flavours:list")
    return _page(request, form, flavour)


@require_POST
def flavour_move(request: HttpRequest, flavour_id: int) -> HttpResponse:
    """One place up or down."""
    flavour = get_object_or_404(Flavour, pk=flavour_id)
    services.flavour_move(flavour=flavour, down=request.POST.get("way") == "down")
    return redirect("flavours:list")


@require_POST
def flavour_remove(request: HttpRequest, flavour_id: int) -> HttpResponse:
    """Take it away."""
    try:
        services.flavour_remove(flavour=get_object_or_404(Flavour, pk=flavour_id), by=user_of(request))
    except Refused as refusal:
        messages.error(request, refusal.message)
    return redirect("flavours:list")


def _page(request: HttpRequest, form: FlavourForm, flavour: Flavour | None) -> HttpResponse:
    context = {"form": form, "flavour": flavour, "tab": "sizes"}
    return render(request, "settings/size.html", context, status=422 if form.errors else 200)
