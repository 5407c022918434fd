"""The pages of web hooks; auditors read them, secrets apart. No rules here: parse, call a service, answer."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts.signed_in import user_of
from portal.hooks import services
from portal.hooks.forms import HookForm
from portal.hooks.models import Hook
from portal.refusal import Refused

_DELIVERIES = 50


@require_safe
def hook_list(request: HttpRequest) -> HttpResponse:
    """All of them."""
    return render(request, "hooks/list.html", {"hooks": Hook.objects.all()})


@require_http_methods(["GET", "HEAD", "POST"])
def hook_new(request: HttpRequest) -> HttpResponse:
    """A new one."""
    user = user_of(request)
    form = HookForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            hook = services.hook_create(wish=form.wish(), by=user)
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            return redirect("hooks:detail", hook_id=hook.pk)
    return render(request, "hooks/new.html", {"form": form}, status=422 if request.method == "POST" else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def hook_detail(request: HttpRequest, hook_id: int) -> HttpResponse:
    """One, with what was sent to it; and its change."""
    user = user_of(request)
    hook = get_object_or_404(Hook, pk=hook_id)
    as_it_is = {"name": hook.name, "address": hook.address, "kinds": hook.kinds, "is_on": hook.is_on}
    form = HookForm(request.POST if request.method == "POST" else None, initial=as_it_is)
    if request.method == "POST" and form.is_valid():
        try:
            services.hook_change(hook=hook, wish=form.wish(), by=user)
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            messages.success(request, _("The web hook was changed."))
            return redirect("hooks:detail", hook_id=hook.pk)
    context = {"hook": hook, "form": form, "deliveries": hook.deliveries.all()[:_DELIVERIES]}
    return render(request, "hooks/detail.html", context, status=422 if request.method == "POST" else 200)


@require_POST
def hook_test(request: HttpRequest, hook_id: int) -> HttpResponse:
    """Send a test."""
    user = user_of(request)
    services.hook_test(hook=get_object_or_404(Hook, pk=hook_id), by=user)
    messages.success(request, _("A test is on its way; below stands what comes of it."))
    return redirect("hooks:detail", hook_id=hook_id)


@require_POST
def hook_secret(request: HttpRequest, hook_id: int) -> HttpResponse:
    """A new secret."""
    user = user_of(request)
    services.hook_new_secret(hook=get_object_or_404(Hook, pk=hook_id), by=user)
    messages.success(request, _("It has a new secret. Messages signed with the old one come no more."))
    return redirect("hooks:detail", hook_id=hook_id)


@require_POST
def hook_delete(request: HttpRequest, hook_id: int) -> HttpResponse:
    """Delete it."""
    user = user_of(request)
    services.hook_delete(hook=get_object_or_404(Hook, pk=hook_id), by=user)
    return redirect("hooks:list")
