"""The hosts' pages, for administrators and auditors; for everybody else they are not there."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from portal.accounts.models import User
from portal.figures.charts import OF_A_HOST
from portal.figures.selectors import Subject
from portal.figures.views import shown
from portal.fleet import selectors
from portal.fleet.models import Host
from portal.fleet.repairs import repairs_of
from portal.fleet.words import kvm_sentence, trial_label
from portal.networks import uplinks
from portal.networks.forms import MakeBridgeForm
from portal.networks.selectors import bridge_work, networks_by_bridge
from portal.refusal import Refused

_MOST_MACHINES = 100


@require_safe
def host_list(request: HttpRequest) -> HttpResponse:
    """All hosts."""
    return render(request, "fleet/list.html", {"hosts": selectors.hosts_all()})


@require_safe
def host_detail(request: HttpRequest, name: str) -> HttpResponse:
    """One host: what it can do, what it has, what runs on it."""
    return _page(request, get_object_or_404(selectors.hosts_all(), name=name))


@require_POST
def host_bridge_make(request: HttpRequest, name: str) -> HttpResponse:
    """A bridge around one of its cards."""
    user = cast(User, request.user)
    host = get_object_or_404(selectors.hosts_all(), name=name)
    form = MakeBridgeForm(request.POST)
    if form.is_valid():
        try:
            uplinks.bridge_make(host=host, network=None, is_sure=form.cleaned_data["sure"],
                                card=form.cleaned_data["card"], by=user)  # fmt: skip
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            return redirect("fleet:detail", name=name)
    return _page(request, host, form)


@require_POST
def host_bridge_remove(request: HttpRequest, name: str) -> HttpResponse:
    """A bridge of ours taken away again."""
    user = cast(User, request.user)
    host = get_object_or_404(Host, name=name)
    try:
        uplinks.bridge_remove(host=host, bridge=request.POST.get("bridge", "")[:15], by=user)
    except Refused as refusal:
        messages.error(request, refusal.message)
    return redirect("fleet:detail", name=name)


def _page(request: HttpRequest, host: Any, bridge_form: MakeBridgeForm | None = None) -> HttpResponse:
    facts = host.host_facts
    machines = host.machines.select_related("owner", "team").only(
        "name", "host", "owner__username", "team__name"
    )
    machines = machines.order_by("name")
    names = networks_by_bridge(host)
    context = {
        "repairs": repairs_of(host),
        "host": host,
        "facts": facts,
        "trial": trial_label(facts.kvm.answer) if facts and facts.kvm else "",
        "kvm_sentence": kvm_sentence(facts),
        "machines": machines[:_MOST_MACHINES],
        "pools": [pool | {"used_mib": pool["total_mib"] - pool["free_mib"]} for pool in host.pools],
        "most_machines": _MOST_MACHINES,
        **shown(request, Subject(host.pk), OF_A_HOST),
        "interfaces": [(each, names.get(each.name, [])) for each in facts.interfaces] if facts else [],
        "free_cards": uplinks.cards_of(host),
        "work": bridge_work([host]).get(host.pk),
        "bridge_form": bridge_form,
    }
    status = 422 if bridge_form is not None and bridge_form.errors else 200
    return render(request, "fleet/detail.html", context, status=status)
