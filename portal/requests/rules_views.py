"""The page of the rules of asking: administrators set them, auditors read them."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from portal.accounts.signed_in import user_of
from portal.networks.models import Network
from portal.quotas.models import NetworkToAskFor
from portal.quotas.services import networks_to_ask_for
from portal.requests.forms import RulesForm
from portal.requests.rules import rules_now, rules_set


@require_http_methods(["GET", "HEAD", "POST"])
def rules(request: HttpRequest) -> HttpResponse:
    """After how long requests expire, who decides about their own, and which networks have to be asked for."""
    now = rules_now()
    marked = list(NetworkToAskFor.objects.values_list("network", flat=True))
    form = RulesForm(
        request.POST or None, initial={"days": now.days, "approve_own": now.approve_own, "networks": marked}
    )
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        rules_set(approve_own=data["approve_own"], days=data["days"], by=user_of(request))
        networks_to_ask_for(networks=[each.pk for each in data["networks"]], by=user_of(request))
        messages.success(request, _("The rules count from now on."))
        return redirect("rules")
    chosen = {str(each) for each in form["networks"].value() or []}
    networks = [(each, str(each.pk) in chosen) for each in Network.objects.order_by("name")]
    context = {
        "form": form,
        "networks": networks,
        "to_ask_for": [each.name for each, is_chosen in networks if is_chosen],
        "tab": "rules",
    }
    return render(request, "settings/rules.html", context, status=422 if form.errors else 200)
