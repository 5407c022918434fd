"""Charts of a machine for whoever sees it, of a host for administrators; the numbers behind them at an address of their own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from portal.accounts.signed_in import user_of
from portal.figures.charts import OF_A_HOST, OF_A_MACHINE, Chart, columns, described
from portal.figures.selectors import RANGES, Range, Subject, pairs, times
from portal.fleet.models import Host
from portal.machines import selectors as machines
from portal.machines.views.acting import machine_page
from workers.contract.figures import SAMPLE_SECONDS

_SLOW_SECONDS = 60
_RANGE_WORDS = (("hour", _("1 hour")), ("day", _("24 hours")), ("month", _("30 days")))


@require_safe
def machine_figures(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """The tab of a machine."""
    machine = machines.machine_for(user_of(request), machine_id)
    subject = Subject(machine.host_id, machine.pk)
    return machine_page(
        request, machine, "figures", "figures/machine.html", shown(request, subject, OF_A_MACHINE)
    )


@require_safe
def machine_figures_data(request: HttpRequest, machine_id: UUID) -> HttpResponse:
    """What its charts draw."""
    machine = machines.machine_for(user_of(request), machine_id)
    return _data(request, Subject(machine.host_id, machine.pk), OF_A_MACHINE)


@require_safe
def host_figures_data(request: HttpRequest, name: str) -> HttpResponse:
    """What the charts of a host draw."""
    host = get_object_or_404(Host.objects.only("pk"), name=name)
    return _data(request, Subject(host.pk), OF_A_HOST)


def shown(request: HttpRequest, subject: Subject, charts: Sequence[Chart]) -> dict[str, Any]:
    """For the template: the charts with their words, and which range is looked at."""
    span = _range(request)
    return {
        "charts": described(charts, pairs(subject, span)),
        "range": span.name,
        "figure_ranges": _RANGE_WORDS,
        "poll_seconds": SAMPLE_SECONDS if span.step == SAMPLE_SECONDS else _SLOW_SECONDS,
    }


def _data(request: HttpRequest, subject: Subject, charts: Sequence[Chart]) -> HttpResponse:
    """Whole, or only the points after `since`, which a page that shows the others asks for."""
    span = _range(request)
    now = time.time()
    found = pairs(subject, span, now=now)
    moments = times(span, found, now=now)
    raw = request.GET.get("since", "")
    since = int(raw) if raw.isascii() and raw.isdigit() and len(raw) < 12 else 0
    body = {
        "range": span.name,
        "seconds": span.seconds,
        "step": span.step,
        "charts": described(charts, found),
        **columns(charts, found, [at for at in moments if at > since]),
    }
    answer = JsonResponse(body)
    answer["Cache-Control"] = "private, no-store"
    return answer


def _range(request: HttpRequest) -> Range:
    return RANGES.get(request.GET.get("range", ""), RANGES["hour"])
