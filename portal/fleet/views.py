"""The hosts' pages, for administrators; for everybody else they are not there."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from portal.accounts.models import User
from portal.figures.charts import OF_A_HOST
from portal.figures.selectors import Subject
from portal.figures.views import shown
from portal.fleet import selectors
from portal.fleet.words import kvm_sentence, trial_label

_MOST_MACHINES = 100


@require_safe
def host_list(request: HttpRequest) -> HttpResponse:
    """All hosts."""
    _administrators_only(request)
    return render(request, "fleet/list.html", {"hosts": selectors.hosts_all()})


@require_safe
def host_detail(request: HttpRequest, name: str) -> HttpResponse:
    """One host: what it can do, what it has, what runs on it."""
    _administrators_only(request)
    host = get_object_or_404(selectors.hosts_all(), name=name)
    facts = host.host_facts
    machines = host.machines.select_related("owner").only("name", "host", "owner__username").order_by("name")
    context = {
        "host": host,
        "facts": facts,
        "trial": trial_label(facts.kvm.answer) if facts and facts.kvm else "",
        "kvm_sentence": kvm_sentence(facts),
        "machines": machines[:_MOST_MACHINES],
        "pools": [pool | {"used_mib": pool["total_mib"] - pool["free_mib"]} for pool in host.pools],
        "most_machines": _MOST_MACHINES,
        **shown(request, Subject(host.pk), OF_A_HOST),
    }
    return render(request, "fleet/detail.html", context)


def _administrators_only(request: HttpRequest) -> None:
    if not (isinstance(request.user, User) and request.user.is_administrator):
        raise Http404
