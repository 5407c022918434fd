"""The pages of networks. No rules here: parse, call a service or a selector, answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts.signed_in import user_of
from portal.fleet.models import Host
from portal.networks import changing, selectors, uplinks
from portal.networks.forms import (
    IPV6,
    Ipv6Form,
    MakeBridgeForm,
    NameForm,
    NewNetworkForm,
    SubnetForm,
    UplinkForm,
)
from portal.networks.models import Network
from portal.networks.words import KINDS
from portal.refusal import Refused
from workers.contract.networks import NetworkKind

_MOST_MACHINES = 100


@require_safe
def network_list(request: HttpRequest) -> HttpResponse:
    """Which networks there are, what each is good for, and how many machines of the person are in it."""
    user = user_of(request)
    context = {"networks": selectors.networks_listed(user), "kinds": KINDS.values()}
    return render(request, "networks/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def network_new(request: HttpRequest) -> HttpResponse:
    """The form of a new network, and its making."""
    user = user_of(request)
    proposed = {"subnet": changing.proposed_subnet(), "subnet6": changing.proposed_subnet6()}
    form = NewNetworkForm(request.POST or None, initial=proposed)
    if request.method == "POST" and form.is_valid():
        try:
            network = changing.network_create(wish=form.wish(), by=user)
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            if network.kind == NetworkKind.BRIDGED:
                messages.success(request, _("The network is there. Now connect the hosts to it."))
                return redirect("networks:detail", network_id=network.pk)
            return redirect("networks:list")
    context = {"form": form, "kinds": KINDS.values(), "ipv6": IPV6}
    return render(request, "networks/new.html", context, status=422 if form.errors else 200)


@require_safe
def network_detail(request: HttpRequest, network_id: UUID) -> HttpResponse:
    """One network: what it is, what is in it, where hosts are connected to it."""
    return _page(request, get_object_or_404(Network, pk=network_id))


@require_POST
def network_rename(request: HttpRequest, network_id: UUID) -> HttpResponse:
    """Another name."""
    form = NameForm(request.POST)
    return _asked(
        request,
        network_id,
        form,
        "name_form",
        lambda: partial(changing.network_rename, name=form.cleaned_data["name"]),
    )


@require_POST
def network_subnet(request: HttpRequest, network_id: UUID) -> HttpResponse:
    """Another range."""
    form = SubnetForm(request.POST)
    return _asked(
        request,
        network_id,
        form,
        "subnet_form",
        lambda: partial(changing.network_change_subnet, subnet=form.cleaned_data["subnet"]),
    )


@require_POST
def network_ipv6(request: HttpRequest, network_id: UUID) -> HttpResponse:
    """IPv6 on, off, or with another range."""
    form = Ipv6Form(request.POST)
    return _asked(
        request,
        network_id,
        form,
        "ipv6_form",
        lambda: partial(changing.network_change_ipv6, **form.wanted()),
    )


@require_POST
def network_delete(request: HttpRequest, network_id: UUID) -> HttpResponse:
    """Remove it, where nothing is in it."""
    user = user_of(request)
    network = get_object_or_404(Network, pk=network_id)
    try:
        changing.network_delete(network=network, by=user)
    except Refused as refusal:
        messages.error(request, refusal.message)
        return redirect("networks:detail", network_id=network_id)
    messages.success(request, _("The network “%(name)s” was deleted.") % {"name": network.name})
    return redirect("networks:list")


@require_POST
def uplink_set(request: HttpRequest, network_id: UUID) -> HttpResponse:
    """Connect a host by one of its bridges."""
    form = UplinkForm(request.POST)

    def wanted() -> Callable[..., object]:
        host = get_object_or_404(Host, name=form.cleaned_data["host"])
        return partial(uplinks.uplink_set, host=host, bridge=form.cleaned_data["bridge"])

    return _asked(request, network_id, form, "uplink_form", wanted)


@require_POST
def uplink_remove(request: HttpRequest, network_id: UUID, host_id: int) -> HttpResponse:
    """Disconnect a host."""
    user = user_of(request)
    network = get_object_or_404(Network, pk=network_id)
    host = get_object_or_404(Host, pk=host_id)
    try:
        uplinks.uplink_remove(network=network, host=host, by=user)
    except Refused as refusal:
        messages.error(request, refusal.message)
    return redirect("networks:detail", network_id=network_id)


@require_POST
def uplink_bridge(request: HttpRequest, network_id: UUID, host_id: int) -> HttpResponse:
    """Have a host make a bridge around a card, for this network."""
    user = user_of(request)
    network = get_object_or_404(Network, pk=network_id)
    host = get_object_or_404(Host, pk=host_id)
    form = MakeBridgeForm(request.POST)
    if form.is_valid():
        try:
            uplinks.bridge_make(host=host, network=network, is_sure=form.cleaned_data["sure"],
                                card=form.cleaned_data["card"], by=user)  # fmt: skip
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            return redirect("networks:detail", network_id=network_id)
    return _page(request, network, bridge_form=form, bridge_host=host.name)


def _asked(
    request: HttpRequest,
    network_id: UUID,
    form: Any,
    form_name: str,
    wanted: Callable[[], Callable[..., object]],
) -> HttpResponse:
    """Do it, or show the page again with the form as it was filled in and what is wrong at its field."""
    user = user_of(request)
    network = get_object_or_404(Network, pk=network_id)
    if form.is_valid():
        try:
            wanted()(network=network, by=user)
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            return redirect("networks:detail", network_id=network_id)
    return _page(request, Network.objects.get(pk=network_id), **{form_name: form})


def _page(request: HttpRequest, network: Network, **filled_in: Any) -> HttpResponse:
    is_bridged = network.kind == NetworkKind.BRIDGED
    machines = list(selectors.machines_in(network)[: _MOST_MACHINES + 1])
    context = {
        "network": network,
        "words": selectors.words_of(network),
        "machines": machines[:_MOST_MACHINES],
        "has_more_machines": len(machines) > _MOST_MACHINES,
        "most_machines": _MOST_MACHINES,
        "is_bridged": is_bridged,
        "uplinks": selectors.uplinks_of(network) if is_bridged else [],
        "ipv6": IPV6,
        "name_form": NameForm(initial={"name": network.name}),
        "subnet_form": SubnetForm(initial={"subnet": network.subnet}),
        "ipv6_form": Ipv6Form.of(network, proposed=changing.proposed_subnet6()),
        "uplink_form": None,
        "bridge_form": None,
        **filled_in,
    }
    wrong = any(getattr(form, "errors", None) for form in filled_in.values())
    return render(request, "networks/detail.html", context, status=422 if wrong else 200)
