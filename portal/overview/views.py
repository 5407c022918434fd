"""The page of the overview. No rules here: ask selectors, answer."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from portal.fleet.selectors import hosts_all
from portal.overview import selectors
from portal.overview.days import HIGH, SLOTS, day_of


@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """Hosts and their load, requests waiting, machines by owner, what runs out when."""
    context = {
        "hosts": [(host, *day_of(host)) for host in hosts_all()],
        "slots": SLOTS,
        "high": HIGH,
        "counts": selectors.counts(),
        "owners": selectors.owners(),
        "requests": selectors.waiting(),
        "endings": selectors.endings(),
        "raises": selectors.raises_ending(),
        "today": timezone.now().date(),
        "within_days": selectors.ENDS_WITHIN.days,
    }
    return render(request, "overview/overview.html", context)
