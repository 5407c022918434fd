"""Signing in and out, the password, and the pages for what is not there or went wrong."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.views import LoginView, LogoutView, PasswordChangeView
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import get_template
from django.urls import reverse_lazy
from django.utils.translation import gettext as _

from portal.accounts.forms import SignInForm
from portal.audit.actions import Action, ObjectKind
from portal.audit.services import record
from portal.live import publish


class SignIn(LoginView):
    """The door."""

    template_name = "accounts/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True


class SignOut(LogoutView):
    """Ends the session, and every console and live page that was opened in it."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Sign out."""
        key = request.session.session_key
        response = super().post(request, *args, **kwargs)
        if key:
            publish.session_ended(key)
        return response


class ChangePassword(PasswordChangeView):
    """A person's own password."""

    template_name = "accounts/password.html"
    success_url = reverse_lazy("machines:list")

    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        """Other sessions of the person end by it."""
        messages.success(
            self.request, _("Your password was changed. Everywhere else you are signed out now.")
        )
        with transaction.atomic():
            user = form.user
            record(Action.PASSWORD_CHANGED, by=user, about=(ObjectKind.PERSON, user.pk, user.get_username()))
            return super().form_valid(form)


@login_not_required
def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403."""
    return render(request, "403.html", status=403)


@login_not_required
def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404, also for what belongs to somebody else."""
    return render(request, "404.html", status=404)


@login_not_required
def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 for a form whose protection against forgery is out of date."""
    return render(request, "403.html", {"stale": True}, status=403)


@login_not_required
def server_error(request: HttpRequest) -> HttpResponse:
    """500; drawn without the database, which may be what failed."""
    return HttpResponse(get_template("500.html").render({}), status=500)
