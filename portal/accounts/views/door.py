"""Coming in by an invitation, going out, and the pages of those who are not let in."""

from __future__ import annotations

from allauth.account.utils import perform_login
from allauth.account.views import LogoutView
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts import invitations
from portal.accounts.forms import AcceptForm
from portal.refusal import Refused

sign_out = login_not_required(require_POST(LogoutView.as_view()))


@login_not_required
@require_safe
def waiting(request: HttpRequest) -> HttpResponse:
    """Who registered and was not let in yet."""
    return render(request, "account/waiting.html")


@login_not_required
@require_safe
def switched_off(request: HttpRequest) -> HttpResponse:
    """Whose account an administrator switched off."""
    return render(request, "account/switched_off.html")


@login_not_required
@never_cache
@sensitive_post_parameters("password1", "password2")
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Choose a name and a password, and be in."""
    found = invitations.invitation_of(token)
    if found is None:
        return render(request, "invitations/gone.html", status=410)
    if request.user.is_authenticated:
        return render(request, "invitations/other.html", {"invitation": found})
    form = AcceptForm(found, request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            user = invitations.accept(
                token=token, name=form.cleaned_data["username"], password=form.cleaned_data["password1"]
            )
        except Refused as refusal:
            form.add_refusal(refusal)
        else:
            answer: HttpResponse = perform_login(request, user)
            return answer
    status = 422 if request.method == "POST" else 200
    return render(request, "invitations/accept.html", {"invitation": found, "form": form}, status=status)
