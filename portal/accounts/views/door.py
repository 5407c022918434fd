"""Coming in by an invitation, by a new password, going out, and the pages of those who are not let in."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import UserTokenForm
from allauth.account.utils import perform_login
from allauth.account.views import LogoutView, PasswordResetFromKeyView
from allauth.decorators import rate_limit
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django.views.generic import FormView

from portal.accounts import invitations
from portal.accounts.forms import AcceptForm
from portal.refusal import Refused

sign_out = require_POST(LogoutView.as_view())


@require_safe
def waiting(request: HttpRequest) -> HttpResponse:
    """Who registered and was not let in yet."""
    return render(request, "account/waiting.html")


@require_safe
def switched_off(request: HttpRequest) -> HttpResponse:
    """Whose account an administrator switched off."""
    return render(request, "account/switched_off.html")


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


@method_decorator((never_cache, rate_limit(action="reset_password_from_key")), name="dispatch")
class NewPassword(PasswordResetFromKeyView):  # type: ignore[misc]  # allauth is untyped
    """A password chosen anew by a link.

    allauth keeps the link's secret in the session and sends on to another address; but whoever comes from a letter in a
    browser comes without our cookies, which are SameSite=Strict. So it stays in the address, which no other site is told.
    """

    success_url = reverse_lazy("account_login")

    def dispatch(self, request: HttpRequest, uidb36: str, key: str, **words: Any) -> Any:
        """Only with a link that is good."""
        link = UserTokenForm(data={"uidb36": uidb36, "key": key})
        self.key = key
        self.reset_user = link.reset_user if link.is_valid() else None
        if self.reset_user is None:
            return self.render_to_response(self.get_context_data(token_fail=True))
        return FormView.dispatch(self, request, uidb36=uidb36, key=key, **words)
